"""Workers as commands show them: who they are, what they do, when they were last seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from resqpy.base import reading
from resqpy.base.foreign_time import moment_of
from resqpy.store import cleaning

if TYPE_CHECKING:
    from resqpy.engine.inspector import Inspector


async def last_seen_ms(inspector: Inspector, ids: Sequence[str]) -> dict[str, int | None]:
    """When each worker gave its last sign of life; None where it never did."""
    signs = await cleaning.signs_of_life(inspector.store, ids)
    latest = (max(moment_of(beat) or 0, reading.ping_time_ms(ping)) for beat, ping in signs)
    return {each: seen or None for each, seen in zip(ids, latest, strict=True)}
