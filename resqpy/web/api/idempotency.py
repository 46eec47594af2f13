"""`Idempotency-Key`: a request that may be repeated. Its answer is kept for a day and given again; while it is
being worked on, an equal one gets 409. After IETF's draft-ietf-httpapi-idempotency-key-header.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Awaitable, Callable

from resqpy.base import codec
from resqpy.base.errors import StoreError
from resqpy.web.api.endpoint import Answer, Call, Parameter
from resqpy.web.api.problems import ApiProblem
from resqpy.web.api.serving import encoded

_KEPT_MS = 86_400_000
_WORKING_MS = (
    60_000  # longer than a request takes; what it makes has names of its own that end repetitions
)

KEY = Parameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
    "A text that names this very request, so that it may be repeated: for a day it gets the same answer.",
    "header",
)


async def once(call: Call, do: Callable[[str], Awaitable[Answer]]) -> Answer:
    """Do what is asked, or give the answer of an equal request with the same key.

    Args:
        do: gets a text that names the request, the same for each repetition; "": there is no key.

    Raises:
        ApiProblem: the key belongs to another request, or to one that is still being worked on.
    """
    given = str(call.values.get(KEY.name, "")).strip('"')
    if not given:
        return await do("")
    words = (call.access.by, call.access.who, call.endpoint.path, given)
    name = _digest("\0".join(words).encode("utf-8", "replace"))
    store = call.parts.resque.store
    key, asked = store.keys.web("request", name), _digest(encoded(call.body))
    started = codec.encode_text({"asked": asked})
    if not await store.call("SET", key, started, "NX", "PX", _WORKING_MS):
        return _again(await store.call("GET", key), asked)
    try:
        answer = await do(name)
    except BaseException:
        with contextlib.suppress(StoreError):  # then it ends by itself
            await store.call("DEL", key)
        raise
    note = {"asked": asked, "status": answer.status, "value": answer.value}
    with contextlib.suppress(StoreError):  # it is done; that is what is to be told
        await store.call("SET", key, encoded(note), "PX", _KEPT_MS)
    return answer


def _again(raw: bytes | None, asked: str) -> Answer:
    note = codec.decode_lenient(raw or b"{}")
    if isinstance(note, dict) and note.get("asked", asked) != asked:
        words = "this Idempotency-Key belongs to another request; use a new one"
        raise ApiProblem("other-request", words)
    if not isinstance(note, dict) or "status" not in note:
        words = "an equal request is being worked on; repeat this one in a moment"
        raise ApiProblem("in-progress", words, headers={"Retry-After": "1"})
    return Answer(note.get("value"), int(note["status"]), {"Idempotency-Replayed": "true"})


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
