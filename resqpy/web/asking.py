"""What is asked of the console: checks that each request must pass, the fields of a form, names in paths.

Nothing here uses `request.url`: it comes from the Host header, which anybody may write.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Mapping
from datetime import datetime
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request

from resqpy.base.errors import OutcomeUnknown, StoreUnavailable

MAX_FORM, MAX_FIELDS = 64 * 1024, 1000  # bytes, fields
MAX_BODY = 1024 * 1024  # bytes of JSON, or of a form with a job
LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
SAFE = ("GET", "HEAD")


class Refusal(Exception):
    """A request that is answered with an error.

    Args:
        status: HTTP's.
        title: what is wrong, in a few words.
        detail: with which value, and what to do.
        headers: more headers of the answer.
    """

    def __init__(
        self, status: int, title: str, detail: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.detail = detail
        self.headers = dict(headers or {})


def check_host(request: Request, allowed: Collection[str]) -> None:
    """Refuse a host that is not ours: a foreign page whose name leads to this machine (DNS rebinding).

    Args:
        allowed: names without ports; `*` is any.

    Raises:
        Refusal: it is another one.
    """
    host = request.headers.get("host", "")
    name = host if host.endswith("]") else host.rsplit(":", 1)[0]
    if "*" not in allowed and name.lower() not in allowed:
        raise Refusal(
            421,
            "This is not the host's name",
            f"The request is for the host {name!r}. Start the console with --public-host {name} if this is "
            "its name; behind nginx, pass the name on: proxy_set_header Host $http_host;",
        )


def check_origin(request: Request) -> None:
    """Refuse a change that another site's page asks for.

    Browsers say so in `Sec-Fetch-Site`; over plain http, only `Origin` tells. A request with neither comes from
    no browser, and needs a token (of which this function knows nothing: it is not called then).

    Raises:
        Refusal: it does not come from one of our pages.
    """
    if request.method in SAFE:
        return
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    host = request.headers.get("host", "")
    if site is not None:
        if site != "same-origin":
            raise _foreign(f"The header Sec-Fetch-Site is {site!r}, not 'same-origin'")
    elif origin is None:
        raise _foreign("It has neither the header Sec-Fetch-Site nor Origin")
    elif urlsplit(origin).netloc.lower() != host.lower():
        raise _foreign(f"The header Origin is {origin!r}, and Host is {host!r}")


def _foreign(why: str) -> Refusal:
    return Refusal(
        403,
        "This does not come from a page of the console",
        f"{why}. Changes are made from the console's own pages, or with an API token. Behind nginx, pass the "
        "host on: proxy_set_header Host $http_host;",
    )


def as_asked(request: Request, error: Exception) -> Exception:
    """An error as it is to be told: a look whose reply is lost has changed nothing."""
    lost = isinstance(error, OutcomeUnknown) and request.method in SAFE
    return StoreUnavailable(str(error)) if lost else error


async def form_of(request: Request, most: int = MAX_FORM) -> dict[str, str]:
    """The fields of a form by name.

    Args:
        most: bytes of the form.

    Raises:
        Refusal: it is too large, or not a form; or it has two fields of one name, of which one would be dropped.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Refusal(415, "This is not a form", f"Its content type is {kind!r}.")
    body = await body_of(request, most)
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS,
            errors="surrogateescape",
        )  # fmt: skip
    except ValueError as error:
        raise Refusal(400, "The form can't be read", str(error)) from error
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Refusal(400, "The form can't be read", f"It has two fields named {twice[:60]!r}.")
    return found


async def body_of(request: Request, most: int) -> bytes:
    """The body of a request.

    Raises:
        Refusal: it has more bytes than this.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise Refusal(413, "The request is too large", f"It has more than {most:,} bytes.")
    return bytes(body)


def raw_of(text: str) -> bytes:
    """The bytes of a text from Redis: those that it was read from, or of JSON's halves of surrogate pairs those
    that come nearest.
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def moment(text: str) -> datetime | None:
    """The time that a text in RFC 3339 names; None: it is none, or has no zone."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None and "T" in text.upper() else None


# Names from Redis in paths: as they are if they are plain, else `~` and their bytes in base64.

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@^:-]{0,200}")


def segment(name: str) -> str:
    """A name as one segment of a path, whatever is in it."""
    if _PLAIN.fullmatch(name):
        return name
    return "~" + base64.urlsafe_b64encode(raw_of(name)).decode().rstrip("=")


def named(part: str) -> str:
    """The name that a segment stands for.

    Raises:
        Refusal: it stands for none.
    """
    if not part.startswith("~"):
        return part
    text = part[1:]
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(404, "There is no such page", f"{part[:60]!r} stands for no name.") from error
    return raw.decode("utf-8", "surrogateescape")
