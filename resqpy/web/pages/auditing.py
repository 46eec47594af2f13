"""What was changed through the console and the API, by whom."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from resqpy.diagnosis import texts
from resqpy.diagnosis.browsing import PAGE
from resqpy.web import trash
from resqpy.web.asking import Refusal
from resqpy.web.audit import entries
from resqpy.web.pages.parts import text_in
from resqpy.web.rendering import page
from resqpy.web.views import cut
from resqpy.web.visit import Visit

_CURSOR = re.compile(r"[0-9]{1,15}-[0-9]{1,10}")


@dataclass(frozen=True)
class AuditRow:
    """A change.

    Attributes:
        more: what else was noted, but the number, the outcome and the undo.
    """

    at_ms: int
    who: str
    role: str
    by: str
    address: str
    verb: str
    what: str
    count: str
    outcome: str
    undo: str
    more: str


def _row(visit: Visit, entry: dict[str, Any]) -> AuditRow:
    more = dict(entry["more"]) if isinstance(entry["more"], dict) else {}
    count, outcome, undo = (str(more.pop(name, "")) for name in ("count", "outcome", "undo"))
    words = {
        name: cut(str(entry.get(name, "")))
        for name in ("who", "role", "by", "address", "verb", "what")
    }
    shown = cut(texts.compact(more, visit.console.options.redaction)) if more else ""
    at_ms = int(str(entry["id"]).partition("-")[0])
    return AuditRow(
        at_ms, **words, count=cut(count), outcome=cut(outcome), more=shown,
        undo=undo if trash.is_id(undo) else "",
    )  # fmt: skip


async def audit_page(visit: Visit) -> Response:
    """The changes, the newest first."""
    before = text_in(visit, "before")
    if before and not _CURSOR.fullmatch(before):
        raise Refusal(400, "This is no page of the audit")
    found, older = await entries(visit.resque.store, PAGE, before)
    return page(visit, "audit", rows=[_row(visit, each) for each in found], older=older)
