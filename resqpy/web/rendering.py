"""Templates and the two files beside them. Values are escaped, and a name that a page lacks is an error."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.errors import printable
from resqpy.base.model import NoList
from resqpy.diagnosis import texts
from resqpy.web import trash
from resqpy.web.access import ADMIN, ENQUEUE, OPERATE
from resqpy.web.asking import Refusal, segment
from resqpy.web.charts import span, waited
from resqpy.web.visit import Visit

_FOLDER = Path(__file__).parent
STATIC: dict[str, tuple[bytes, str]] = {
    name: ((_FOLDER / "static" / name).read_bytes(), kind)
    for name, kind in (
        ("console.css", "text/css; charset=utf-8"),
        ("console.js", "text/javascript; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    )
}
MENU = (
    ("/", "Overview"),
    ("/queues", "Queues"),
    ("/failed", "Failed"),
    ("/delayed", "Delayed"),
    ("/schedules", "Schedules"),
    ("/tasks", "Tasks"),
    ("/workers", "Workers"),
    ("/metrics", "Metrics"),
    ("/limits", "Limits"),
    ("/redis", "Redis"),
)
REFRESH_S = 10
_LONGEST_NAME = 80
OF_ONE_VISIT = ("done", "n", "undo", "refresh")  # parts of a query that only the frame shows
_QUERY = (
    "q", "from", "verb", "class", "exception", "queue", "list", "at", "type", "status", "tag", "period",
    "task", "locks", "ahead",
)  # fmt: skip


def _shown(value: Any) -> Any:
    """Texts with invisible and direction-changing characters made visible."""
    if isinstance(value, Markup):  # a macro's, whose values have been made visible
        return value
    return printable(value, "\n\t") if isinstance(value, str) else value


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["segment"] = segment
    made.filters["number"] = _number
    made.filters["iso"] = texts.iso
    made.filters["ago"] = _ago
    made.filters["utc"] = _utc
    made.filters["duration"] = texts.duration
    made.filters["span"] = span
    made.filters["waited"] = waited
    made.filters["share"] = _share
    made.filters["shortened"] = _shortened
    return made


def _number(value: int) -> str:
    return value.words if isinstance(value, NoList) else f"{value:,}"


def _share(part: float) -> str:
    return f"{100 * part:.1f} %" if not 0 < part < 0.0005 else "< 0.1 %"


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"


def _ago(ms: int) -> str:
    """By its largest unit; the exact time stands beside it."""
    now_ms = SYSTEM_CLOCK.now_ms()
    number, unit = texts.duration(abs(ms - now_ms)).split()[:2]
    about = f"{number} {'min' if unit == 'm' else unit}"
    if abs(ms - now_ms) < 1000:
        return "now"
    return f"in {about}" if ms > now_ms else f"{about} ago"


def _utc(ms: int) -> str:
    told = texts.iso(ms)
    return "" if told is None else f"{told[:19].replace('T', ' ')} UTC"


class RenderedPage(HTMLResponse):
    """A page.

    Args:
        visit: who sees it.
        view: what it shows; its `read` says when that was read, of pages that show what is read in the background.

    Attributes:
        late: it shows something old, and is asked for again in a moment.
    """

    def __init__(self, visit: Visit, template: str, status: int, view: Mapping[str, Any]) -> None:
        text = (
            _environment()
            .get_template(f"{template}.html")
            .render(**_frame(visit), **view, refused=status >= 400)
        )
        super().__init__(text.encode("utf-8", "backslashreplace"), status)
        self._visit, self._template, self._view = visit, template, view
        read = view.get("read")
        self.late = read is not None and read.late
        if self.late:
            self.headers["refresh"] = "1"
        elif status == 200 and _refreshes(visit):
            self.headers["refresh"] = str(REFRESH_S)

    def of(self, visit: Visit) -> Response:
        """The same for somebody else."""
        if visit is self._visit:
            return self
        made = RenderedPage(visit, self._template, self.status_code, self._view)
        if self.status_code != 200 and "refresh" in self.headers:  # by what it shows
            made.headers["refresh"] = self.headers["refresh"]
        return made


def page(visit: Visit, template: str, status: int = 200, **view: Any) -> Response:
    """A page."""
    return RenderedPage(visit, template, status, view)


def _refreshes(visit: Visit) -> bool:
    return visit.request.query_params.get("refresh") == str(REFRESH_S)


def _same(visit: Visit, path: str, refresh: int | None) -> str:
    """The URL of the page that is shown, with the parts of its query that pages know."""
    query = visit.request.query_params
    kept: dict[str, str | int | None] = {name: query[name] for name in _QUERY if name in query}
    return visit.url(path, **kept, refresh=refresh)


def _frame(visit: Visit) -> Mapping[str, Any]:
    request, options = visit.request, visit.console.options
    undo = request.query_params.get("undo", "")

    def may(scope: str) -> bool:
        return visit.access is not None and visit.access.allows(scope)

    return {
        "url": visit.url,
        "who": visit.access,
        "menu": [*MENU, ("/audit", "Audit"), ("/access", "Access")] if may(ADMIN) else MENU,
        "may_operate": may(OPERATE) and not options.read_only,
        "may_enqueue": may(ENQUEUE) and not options.read_only,
        "may_admin": may(ADMIN) and not options.read_only,
        "refreshes": _refreshes(visit),
        "refresh": _same(visit, visit.path, None if _refreshes(visit) else REFRESH_S),
        "refresh_s": REFRESH_S,
        "now": SYSTEM_CLOCK.now_ms(),
        "told": told(visit),
        "undo": undo if trash.is_id(undo) else "",
        "path": visit.path,
        "static": partial(static_url, visit),
        "environment": options.environment,
        "read_only": options.read_only,
        "own_sessions": visit.console.sessions is not None,
    }


# What a change is told as, by a word in the query: no text comes from there.
DONE = {
    "retried": ("1 job is back in its queue", "{:,} jobs are back in their queues"),
    "removed": ("1 entry was removed", "{:,} entries were removed"),
    "gone": ("It was not there any more", "Nothing was there any more"),
    "forbidden": ("A plugin of its task forbids it", "Plugins of their tasks forbid it"),
    "restored": ("1 entry is back", "{:,} entries are back"),
    "paused": ("Paused", "Paused"),
    "resumed": ("Resumed", "Resumed"),
    "replaced": ("Enqueued, and the failed entry was removed",) * 2,
    "enqueued": ("Enqueued", "{:,} jobs were enqueued"),
    "not_enqueued": ("Not enqueued: its job is under way, or a plugin forbids it",) * 2,
    "changed": ("Done", "Done"),
    "cancelled": ("Cancelled: it has stopped where it was",) * 2,
    "going_on": ("It goes on",) * 2,
    "ended": ("It had ended already, or somebody else works on it",) * 2,
    "deleted": ("The queue was deleted, with 1 job", "The queue was deleted, with {:,} jobs"),
    "revoked": ("It gives no access any more",) * 2,
    "limited": ("The limit is set",) * 2,
    "unlimited": ("What was set is removed",) * 2,
    "shut": ("No job of it begins for now",) * 2,
    "open": ("Its jobs begin again",) * 2,
    "put_back": ("1 job is back in its queue", "{:,} jobs are back in their queues"),
    "ordered": ("The process has heard it",) * 2,
    "unanswered": ("No answer yet: it obeys when it hears of it, within five minutes",) * 2,
    "freed": ("The lock is removed",) * 2,
    "cleaned": ("The worker was removed", "The worker was removed"),
}


def told(visit: Visit) -> str:
    """What was just done, for the page that is shown after it."""
    words = DONE.get(visit.request.query_params.get("done", ""))
    text = visit.request.query_params.get("n", "1")
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 1
    return "" if words is None else words[number != 1].format(number)


def static_url(visit: Visit, name: str) -> str:
    """The URL of a file, which changes with its content."""
    return visit.url(f"/static/{_version(name)}/{name}")


@cache
def _version(name: str) -> str:
    return hashlib.sha256(STATIC[name][0]).hexdigest()[:12]


async def static(visit: Visit) -> Response:
    """A file that pages need, which browsers keep."""
    found = STATIC.get(visit.request.path_params["name"])
    if found is None:
        raise Refusal(404, "There is no such file")
    text, kind = found
    keep = {"cache-control": "public, max-age=31536000, immutable"}
    return Response(text, media_type=kind, headers=keep)
