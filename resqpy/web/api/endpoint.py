"""What the API's table is made of: an endpoint is declared once, and from that follow its route, its checks, its
part of the OpenAPI document and of the reference.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from resqpy.base import codec
from resqpy.base.errors import WrongCursor
from resqpy.web.api.schema import Schema
from resqpy.web.asking import raw_of

if TYPE_CHECKING:
    from starlette.responses import Response

    from resqpy.base.masking import Redaction
    from resqpy.engine.inspect.inspector import Resque
    from resqpy.framework.api.tracking import TrackedApi
    from resqpy.framework.project.registry import Registry
    from resqpy.framework.tasks.spec import TaskSpec
    from resqpy.web.access import Access
    from resqpy.web.visit import Visit


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an endpoint.

    Attributes:
        where: in the path, the query or a header.
    """

    name: str
    schema: Schema
    summary: str
    where: Literal["path", "query", "header"] = "query"
    required: bool = False


def in_path(name: str, summary: str, **schema: Any) -> Parameter:
    """A part of the path: text, unless the schema says otherwise."""
    return Parameter(name, {"type": "string", **schema}, summary, "path", required=True)


@dataclass(frozen=True, slots=True)
class ApiParts:
    """What the API reads and changes.

    Attributes:
        registry: the project's tasks; None: there is no project.
        redaction: hides secrets.
    """

    resque: Resque
    tracked: TrackedApi
    redaction: Redaction
    registry: Registry | None = None

    @property
    def tasks(self) -> Mapping[str, TaskSpec]:
        """The tasks of the project, by name."""
        return {} if self.registry is None else self.registry.tasks


@dataclass(frozen=True, slots=True)
class Call:
    """A request that has passed all checks.

    Attributes:
        values: the parameters by name; one that was left out has its default, or is not there.
        body: the decoded body; None: there was none.
    """

    parts: ApiParts
    visit: Visit
    endpoint: ApiEndpoint
    values: Mapping[str, Any]
    body: Any

    @property
    def access(self) -> Access:
        """Who asks, where the endpoint has scopes."""
        return self.visit.who


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with more than its value.

    Attributes:
        response: instead of all others, such as a stream.
    """

    value: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    response: Response | None = None


Handler = Callable[[Call], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class ApiEndpoint:
    """An endpoint.

    Attributes:
        path: with `{name}` for each part that is a parameter.
        scopes: one of these is needed; none: everybody may, or the handler itself looks.
        answer: the schema of a successful answer; None: it is not JSON.
        problems: the kinds of problems that it has beside those of each endpoint.
        raw_query: the query has a language of its own, which the handler reads.
    """

    method: str
    path: str
    scopes: Sequence[str]
    summary: str
    handler: Handler
    parameters: Sequence[Parameter] = ()
    body: Schema | None = None
    answer: Schema | None = field(default_factory=lambda: {"type": "object"})
    status: int = 200
    problems: Sequence[str] = ()
    raw_query: bool = False

    @property
    def changes(self) -> bool:
        """Whether it changes something."""
        return self.method != "GET"

    def matches(self, segments: Sequence[str]) -> bool:
        """Whether a path is this one's."""
        own = self.path.split("/")[1:]
        return len(own) == len(segments) and all(
            mine == given or (mine[0:1] == "{" and given != "")
            for mine, given in zip(own, segments, strict=True)
        )


# Pages of lists.

SIZE = Parameter(
    "size", {"type": "integer", "minimum": 1, "maximum": 500, "default": 50}, "How many at most."
)
CURSOR = Parameter("cursor", {"type": "string", "maxLength": 2000}, "The `next` of the last page.")


def paged(item: Schema, summary: str = "Where the next page begins; null: that was all.") -> Schema:
    """The schema of a page."""
    return {
        "type": "object",
        "required": ["data", "next"],
        "properties": {
            "data": {"type": "array", "items": item},
            "next": {"type": ["string", "null"], "description": summary},
        },
    }


def write_place(whose: str, *place: Any) -> str:
    """A cursor: the place of the last item of a page, and of which list."""
    text = codec.json_text([_sign(whose), *place])
    return base64.urlsafe_b64encode(raw_of(text)).decode().rstrip("=")


def read_place(whose: str, cursor: str, *kinds: type) -> list[Any]:
    """The place in a cursor.

    Raises:
        WrongCursor: it is that of another list, or none.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        raw = base64.b64decode(padded, altchars=b"-_", validate=True)
        place: list[Any]
        sign, *place = codec.decode_text(raw.decode("utf-8", "surrogateescape"))
        right = [type(each) for each in place] == [*kinds]
    except (ValueError, TypeError, binascii.Error, RecursionError) as error:
        raise WrongCursor(
            f"{cursor[:60]!r} is not a cursor; pass the `next` of the last page"
        ) from error
    if sign != _sign(whose) or not right:
        raise WrongCursor(
            "this cursor belongs to another query; use the same conditions, or start without a cursor"
        )
    return place


def _sign(whose: str) -> str:
    return codec.digest(raw_of(whose))[:10]
