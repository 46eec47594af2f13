"""Who changed what, and when: one stream for the pages and the API."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from resqpy.base import codec
from resqpy.base.errors import StoreError
from resqpy.diagnosis import texts
from resqpy.store.connection.client import Arg, Store
from resqpy.store.queues import decode_name
from resqpy.web.signin import address_of

if TYPE_CHECKING:
    from resqpy.web.visit import Visit

_KEPT = 10_000  # entries
_CUT = 500  # characters of a value
_log = logging.getLogger("resqpy")


async def note(visit: Visit, verb: str, what: str, **more: Any) -> None:
    """Note a change that was made; that this failed is logged, because the change is there.

    Args:
        what: what was changed: the name of a queue, a task.
        more: what else is worth knowing, such as `count` or `undo`; unset values are left out, long ones cut.
    """
    store, who = visit.resque.store, visit.who
    try:
        await store.call(*note_of(visit, verb, what, **more))
    except StoreError as error:
        _log.error("cannot note that %s did this: %s %s: %s", who.who, verb, what[:_CUT], error)


def note_of(visit: Visit, verb: str, what: str, **more: Any) -> list[Arg]:
    """The command that notes a change."""
    store, who = visit.resque.store, visit.who
    told = {
        name: value[:_CUT] if isinstance(value, str) else value
        for name, value in more.items()
        if value not in (None, "")
    }
    fields = {
        "who": who.who,
        "role": who.role,
        "by": who.by,
        "address": address_of(visit.request),
        "verb": verb,
        "what": what[:_CUT],
        "more": codec.json_text(visit.console.options.redaction.shown(told)),
    }
    words = [word for pair in fields.items() for word in pair]
    return ["XADD", store.keys.audit, "MAXLEN", "~", _KEPT, "*", *words]


async def entries(store: Store, size: int, before: str = "") -> tuple[list[dict[str, Any]], str]:
    """The newest changes, and where to go on; "": that was all.

    Args:
        before: only those before this id.
    """
    end = f"({before}" if before else "+"
    found = await store.call("XREVRANGE", store.keys.audit, end, "-", "COUNT", size + 1)
    shown = [_entry(*each) for each in found[:size]]
    return shown, shown[-1]["id"] if len(found) > size else ""


def _entry(entry_id: bytes, flat: Sequence[bytes]) -> dict[str, Any]:
    pairs = zip(flat[::2], flat[1::2], strict=False)
    fields: dict[str, Any] = {decode_name(name): decode_name(value) for name, value in pairs}
    name = entry_id.decode()
    fields["more"] = codec.decode_lenient(str(fields.get("more", "{}")).encode("utf-8", "replace"))
    return {"id": name, "at": texts.iso(int(name.partition("-")[0])), **fields}
