"""Failed jobs grouped by task and exception: a few lines for a hundred thousand entries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from resqpy.base.foreign_time import moment_of
from resqpy.base.model import FailedJob

MAX_GROUPS = 1000  # names that are unique for each job must not fill the memory


@dataclass(slots=True)
class FailedGroup:
    """The failed jobs of one task with one exception.

    Attributes:
        class_name: the task; None: entries without a readable job.
        exception: the exception; None: entries that name none.
        count: how many there are.
        first_ms, last_ms: when the first and the last of them failed, in milliseconds since the epoch; None
            if no entry has a time.
        example: one of them, the last.
        others: the group of everything beyond the thousandth, whatever task and exception.
    """

    class_name: str | None
    exception: str | None
    example: FailedJob
    count: int = 0
    first_ms: int | None = None
    last_ms: int | None = None
    others: bool = False

    def add(self, entry: FailedJob) -> None:
        """Count an entry."""
        self.count += 1
        failed_ms = moment_of(entry.failed_at)
        if failed_ms is None:
            return
        if self.first_ms is None or failed_ms < self.first_ms:
            self.first_ms = failed_ms
        if self.last_ms is None or failed_ms >= self.last_ms:
            self.last_ms, self.example = failed_ms, entry


async def grouped(entries: AsyncIterator[FailedJob]) -> list[FailedGroup]:
    """Groups of entries by task and exception, the largest first; the rest last."""
    groups: dict[tuple[str | None, str | None], FailedGroup] = {}
    others: FailedGroup | None = None
    async for entry in entries:
        name = entry.class_name or None, entry.exception or None
        if name in groups or len(groups) < MAX_GROUPS:
            group = groups.setdefault(name, FailedGroup(*name, entry))
        else:
            group = others = others or FailedGroup(None, None, entry, others=True)
        group.add(entry)
    found = sorted(groups.values(), key=lambda each: -each.count)
    return [*found, others] if others else found
