"""`python -m resqpy.cli`, as a supervisor starts its processes."""

from __future__ import annotations

from resqpy.cli.main import main

main()
