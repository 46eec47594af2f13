"""Templates and the two files beside them. Values are escaped, and a name that a page lacks is an error."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from resqpy.base.errors import printable
from resqpy.web.access import ROLES
from resqpy.web.asking import Refusal, segment
from resqpy.web.visit import Visit

_FOLDER = Path(__file__).parent
STATIC: dict[str, tuple[bytes, str]] = {
    "console.css": ((_FOLDER / "static" / "console.css").read_bytes(), "text/css; charset=utf-8"),
}
MENU = (("/", "Overview"),)


def _shown(value: Any) -> Any:
    """Texts with invisible and direction-changing characters made visible."""
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
    made.filters["number"] = "{:,}".format
    return made


def page(visit: Visit, template: str, status: int = 200, **view: Any) -> Response:
    """A page."""
    text = _environment().get_template(f"{template}.html").render(**_frame(visit), **view)
    return HTMLResponse(text.encode("utf-8", "backslashreplace"), status)


def _frame(visit: Visit) -> Mapping[str, Any]:
    request = visit.request
    path = request.scope["path"].removeprefix(request.scope["root_path"])
    return {
        "url": visit.url,
        "who": visit.access,
        "roles": ROLES,
        "menu": MENU,
        "path": path,
        "static": partial(static_url, visit),
        "environment": visit.console.options.environment,
        "read_only": visit.console.options.read_only,
        "own_sessions": visit.console.sessions is not None,
    }


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
