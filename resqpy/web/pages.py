"""The pages of the console: what each reads, as data for its template."""

from __future__ import annotations

from starlette.responses import PlainTextResponse, RedirectResponse, Response

from resqpy.store import overview
from resqpy.web.asking import Refusal, form_of
from resqpy.web.rendering import page, static
from resqpy.web.signin import Sessions, keep_cookie, users
from resqpy.web.visit import Area, Endpoint, Visit


async def healthz(_visit: Visit) -> Response:
    """For probes of the console itself; says nothing of Redis."""
    return PlainTextResponse("ok\n")


def refused(visit: Visit, refusal: Refusal) -> Response:
    """A refusal as a page; who isn't signed in is led to do so."""
    if refusal.status == 401 and visit.console.sessions is not None:
        return RedirectResponse(visit.url("/login"), 303)
    response = page(visit, "refused", refusal.status, refusal=refusal)
    response.headers.update(refusal.headers)
    return response


# -- signing in and out --


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
    sessions, fields = _sessions(visit), await form_of(visit.request)
    given = {name: values[0] for name, values in fields.items()}
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


# -- pages --


async def overview_page(visit: Visit) -> Response:
    """What there is, in a few numbers."""
    found = await overview.count(visit.resque.store, {})
    return page(visit, "overview", found=found)


PAGES = Area(
    "",
    [
        Endpoint("/healthz", healthz, scope=None),
        Endpoint("/static/{version}/{name}", static, scope=None),
        Endpoint("/login", login_page, scope=None),
        Endpoint("/login", login, "POST", scope=None),
        Endpoint("/logout", logout, "POST", scope=None),
        Endpoint("/", overview_page),
    ],
    refused,
)
