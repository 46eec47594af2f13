"""The console: pages and an HTTP API for people and programs who look after an installation.

`console` makes an ASGI application of it, for `resqpy web` or to be mounted in another one. It works on any
Resque Redis, also where no Python runs. Needs the extra `web`.
"""

from resqpy.web.access import Access as Access
from resqpy.web.app import console as console
