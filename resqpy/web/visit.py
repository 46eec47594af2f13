"""One request to the console as its handlers see it, and the table of what is handled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from resqpy.base.errors import StoreError
from resqpy.engine.inspect.inspector import Resque
from resqpy.web.access import READ, Access
from resqpy.web.asking import Refusal, raw_of

if TYPE_CHECKING:
    from resqpy.web.app import Console


@dataclass
class Visit:
    """One request.

    Attributes:
        console: the application; its options.
        access: who asks; None: nobody known.
    """

    request: Request
    console: Console
    access: Access | None = None

    @property
    def resque(self) -> Resque:
        """The Redis, its queues and inspector."""
        return self.console.resque

    @property
    def path(self) -> str:
        """Its path below that of the console."""
        scope = self.request.scope
        path: str = scope["path"].removeprefix(scope["root_path"])
        return path

    @property
    def who(self) -> Access:
        """Who asks, where the endpoint has a scope.

        Raises:
            Refusal: nobody known.
        """
        if self.access is None:
            raise Refusal(401, "You are not signed in")
        return self.access

    @property
    def wants_csv(self) -> bool:
        """Whether a table is asked for instead of a page: by a link, or by what the client accepts."""
        accepts = self.request.headers.get("accept", "")
        return self.request.query_params.get("format") == "csv" or accepts.startswith("text/csv")

    async def still_may(self, *scopes: str) -> bool:
        """Whether who asks may still do this: their session or token may have ended. A Redis that is away ends
        nothing.
        """
        try:
            self.access = await self.console.access_of(self.request)
        except Refusal:
            return False
        except StoreError:
            return True
        return self.access is not None and any(map(self.access.allows, scopes))

    def url(self, path: str, **query: str | int | None) -> str:
        """The URL of a page; what is None is left out of the query."""
        given = {name: raw_of(str(value)) for name, value in query.items() if value is not None}
        asked = f"?{urlencode(given)}" if given else ""
        return f"{self.request.scope.get('root_path', '')}{path}{asked}"


Handler = Callable[[Visit], Awaitable[Response]]


@dataclass(frozen=True)
class Endpoint:
    """What answers a path.

    Attributes:
        path: as Starlette's routes, `/queues/{name}`.
        scope: what the access must include; None: open to everybody.
        writes: whether it changes something, which a read-only console refuses.
        for_programs: it is asked by programs, so where a request comes from matters only if a session came along.
        shared_s: for how long (seconds) all who may see the same share what it shows; 0: it is read for each.
    """

    path: str
    handler: Handler
    method: str = "GET"
    scope: str | None = READ
    writes: bool = field(default=False)
    for_programs: bool = field(default=False)
    shared_s: float = field(default=0.0)


@dataclass(frozen=True)
class Area:
    """Endpoints below a path, which tell of errors in the same form.

    Attributes:
        prefix: "" is everything else.
        refused: the answer to a request that is refused.
    """

    prefix: str
    endpoints: Sequence[Endpoint]
    refused: Callable[[Visit, Refusal], Response]

    def has(self, path: str) -> bool:
        """Whether a path is in it."""
        return not self.prefix or path == self.prefix or path.startswith(f"{self.prefix}/")
