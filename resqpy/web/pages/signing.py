"""Signing in and out."""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response

from resqpy.web.asking import Refusal
from resqpy.web.pages.parts import fields_of
from resqpy.web.rendering import page
from resqpy.web.signin import Sessions, keep_cookie, users
from resqpy.web.visit import Visit


def _sessions(visit: Visit) -> Sessions:
    if visit.console.sessions is None:
        raise Refusal(404, "There is no such page", "The application around says who you are.")
    return visit.console.sessions


async def login_page(visit: Visit) -> Response:
    """A page with one button: who opens a link, or shows a preview of it, does not spend it."""
    _sessions(visit)
    code = visit.request.query_params.get("code")
    known = {} if code else await users(visit.resque.store)
    response = page(visit, "login", code=code, has_users=bool(known))
    response.headers["referrer-policy"] = "no-referrer"
    return response


async def login(visit: Visit) -> Response:
    """Begin a session."""
    sessions, given = _sessions(visit), await fields_of(visit)
    if "code" in given:
        secret = await sessions.by_code(visit.request, given["code"])
    else:
        who, password = given.get("who", ""), given.get("password", "")
        secret = await sessions.by_password(visit.request, who, password)
    response = RedirectResponse(visit.url("/"), 303)
    keep_cookie(visit.request, response, secret)
    return response


async def logout(visit: Visit) -> Response:
    """End a session."""
    await _sessions(visit).end(visit.request)
    response = RedirectResponse(visit.url("/login"), 303)
    keep_cookie(visit.request, response, "")
    return response
