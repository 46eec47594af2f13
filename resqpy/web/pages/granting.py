"""Who has access: sessions, one-time links, tokens and users; each can be revoked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from resqpy.base.errors import UsageError
from resqpy.base.when import parse_duration
from resqpy.web import changing, tokens
from resqpy.web.access import ROLES
from resqpy.web.asking import Refusal
from resqpy.web.pages.parts import back, fields_of, part_of
from resqpy.web.rendering import page
from resqpy.web.signin import SESSION_S, Sessions, user_notes
from resqpy.web.vault import LINK, SESSION, Kept
from resqpy.web.views import cut
from resqpy.web.visit import Visit


@dataclass(frozen=True)
class Grant:
    """Something that gives access.

    Attributes:
        kind, id: how it is named in a path.
        may: its role, or its scopes.
        used_ms: when it was last used; None: never, or that is not known.
        until_ms: when it ends; None: it does not.
        own: it is the one by which the page is seen.
    """

    kind: str
    id: str
    who: str
    may: str
    made_ms: int | None
    used_ms: int | None = None
    until_ms: int | None = None
    address: str = ""
    own: bool = False


async def access_page(visit: Visit) -> Response:
    """Everything that gives access."""
    return await _page(visit)


async def _page(visit: Visit, status: int = 200, **told: str) -> Response:
    """The page; `link` and `secret` were just made, `error` says why nothing was."""
    store, sessions = visit.resque.store, visit.console.sessions
    now_ms = await store.time_us() // 1000
    known = await tokens.every(store, tidy=False)
    grants: dict[str, Sequence[Grant]] = {"tokens": [_of_token(each) for each in known]}
    if sessions is not None:
        users = await user_notes(store)
        begun = await _sessions(visit, sessions, users, now_ms)
        grants["sessions"] = begun
        grants["links"] = [
            Grant("links", each.digest, cut(str(each.note.get("who"))), str(each.note.get("role")), each.made_ms,
                  until_ms=now_ms + each.left_ms)
            for each in await sessions.every(LINK)
        ]  # fmt: skip
        grants["users"] = [_of_user(name, note, begun) for name, note in users.items()]
    return page(visit, "access", status, grants=grants, told_of=told, roles=[*ROLES])


def _of_token(token: tokens.AccessToken) -> Grant:
    return Grant(
        "tokens", token.digest, cut(token.name), cut(" ".join(token.scopes)), token.created_ms,
        token.used_ms, token.until_ms,
    )  # fmt: skip


async def _sessions(
    visit: Visit, sessions: Sessions, users: Mapping[str, Mapping[str, Any]], now_ms: int
) -> list[Grant]:
    own = sessions.of(visit.request)

    def grant(each: Kept) -> Grant:
        note, who = each.note, str(each.note.get("who"))
        role = str(users.get(who, {}).get("role", "–") if "user" in note else note.get("role"))
        used_ms = now_ms + each.left_ms - SESSION_S * 1000
        return Grant(
            "sessions", each.digest, cut(who), role, each.made_ms, used_ms, now_ms + each.left_ms,
            cut(str(note.get("address", "")), 60), own=each.digest == own,
        )  # fmt: skip

    return [grant(each) for each in await sessions.every(SESSION)]


def _of_user(name: str, note: Mapping[str, Any], begun: Sequence[Grant]) -> Grant:
    uses = [each.used_ms for each in begun if each.who == cut(name) and each.used_ms is not None]
    made = note.get("made")
    return Grant(
        "users", name, cut(name), note["role"], made if isinstance(made, int) else None,
        max(uses, default=None),
    )  # fmt: skip


async def make(visit: Visit) -> Response:
    """Make a link or a token. It is shown in this answer, and never again."""
    kind, fields = visit.request.path_params["kind"], await fields_of(visit)
    if kind not in ("links", "tokens") or (kind == "links" and visit.console.sessions is None):
        raise Refusal(404, "There is no such page")
    try:
        if kind == "links":
            code = await changing.make_link(visit, fields.get("role", ""))
            # for people to copy: under the name that their browser has for us, which a proxy may keep from Host
            origin = visit.request.headers.get("origin", "")
            known = origin if origin.startswith(("http://", "https://")) else ""
            return await _page(visit, link=visit.url("/login", code=code), origin=known)
        ends, scopes = fields.get("expires", "").strip(), fields.get("scopes", "").split()
        for_ms = parse_duration(ends) if ends else None
        secret = await changing.make_token(visit, fields.get("name", ""), scopes, for_ms)
        return await _page(visit, secret=secret)
    except UsageError as error:
        return await _page(visit, 422, error=str(error))


async def revoke(visit: Visit) -> Response:
    """Take access away."""
    kind = visit.request.path_params["kind"]
    gone = await changing.revoke_access(visit, kind, part_of(visit, "id"))
    return back(visit, "/access", "revoked" if gone else "gone")
