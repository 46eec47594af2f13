"""Sends requests to an ASGI application without a server."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message

from resqpy.web import tokens
from resqpy.web.app import Console


@dataclass
class Reply:
    """What was answered."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.content)


def scope_of(
    method: str, path: str, headers: Mapping[str, str], *, root_path: str = ""
) -> dict[str, Any]:
    """The scope of a request."""
    raw, _, query = path.partition("?")
    sent = {"host": "127.0.0.1", **headers}
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": unquote(raw), "raw_path": raw.encode(), "query_string": query.encode(), "root_path": root_path,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in sent.items()],
        "client": ("127.0.0.1", 50_000), "server": ("127.0.0.1", 8937), "state": {},
    }  # fmt: skip


async def ask(
    app: ASGIApp,
    method: str,
    path: str,
    body: Any = None,
    *,
    headers: Mapping[str, str] | None = None,
    root_path: str = "",
) -> Reply:
    """Send a request.

    Args:
        path: encoded, with the query.
        body: bytes, or a value that is sent as JSON.
    """
    content = (
        b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    )
    sent = {name.lower(): value for name, value in (headers or {}).items()}
    if body is not None and not isinstance(body, bytes):
        sent.setdefault("content-type", "application/json")
    scope = scope_of(method, path, sent, root_path=root_path)
    told: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: Message) -> None:
        told.append(message)

    await app(scope, receive, send)
    answered = {name.decode(): value.decode("latin-1") for name, value in told[0]["headers"]}
    return Reply(told[0]["status"], answered, b"".join(each.get("body", b"") for each in told[1:]))


class ApiClient:
    """Asks the API of a console, with a token made for the purpose.

    Args:
        app: the console, opened.
        shares: gets what others have read a moment ago; else it is read anew, since tests change Redis behind the
            console's back.
    """

    def __init__(self, app: Console, base: str = "/api/v1", *, shares: bool = False) -> None:
        self.app = app
        self._shares = shares
        self.base = base
        self._tokens: dict[tuple[str, ...], str] = {}

    async def token(self, *scopes: str) -> str:
        """A token with these scopes."""
        if scopes not in self._tokens:
            await self.app.open()
            name = f"t{len(self._tokens)}"
            made, _ = await tokens.create(self.app.resque.store, name, scopes)
            self._tokens[scopes] = made
        return self._tokens[scopes]

    async def __call__(
        self,
        request: str,
        body: Any = None,
        *,
        scopes: Sequence[str] = ("operate",),
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request, such as `GET /queues`; no scopes: without a token."""
        method, path = request.split(" ", 1)
        sent = dict(headers or {})
        if not self._shares:
            self.app.everything.forget()
        if scopes:
            sent["authorization"] = f"Bearer {await self.token(*scopes)}"
        return await ask(self.app, method, self.base + path, body, headers=sent)
