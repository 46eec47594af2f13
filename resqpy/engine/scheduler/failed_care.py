"""The chore that keeps the failed lists to a size or an age, by choice: Resque's grow without end."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from resqpy.base.concurrency.limited import within
from resqpy.base.errors import UsageError
from resqpy.base.foreign_time import moment_of
from resqpy.base.model import FailedJob
from resqpy.engine.inspect.inspector import Inspector
from resqpy.engine.options import LeaderOptions
from resqpy.engine.scheduler.election import Leadership, Scope
from resqpy.store import failures

_EVERY_S, _AT_ONCE = 60.0, 500
_ARCHIVE_WITHIN_S = 60.0


class FailedCareChore:
    """Removes the oldest entries of each failed list beyond `failed_keep`, and those older than `failed_for`.

    Where there is an archive, it has an entry before the list loses it: if it raises, or takes longer than a
    minute, nothing is removed. It may get an entry twice.

    Args:
        tell: called as `tell("failed_removed", list, number)`.
    """

    name = "failed_care"
    scope: Scope = "own"
    prefixes: Sequence[str] = ()

    def __init__(
        self, inspector: Inspector, options: LeaderOptions, tell: Callable[..., None]
    ) -> None:
        self._inspector = inspector
        self._options = options
        self._tell = tell

    async def run(self, leadership: Leadership) -> float | None:
        """Remove some hundred entries of each list; returns the seconds until the next time."""
        if self._options.failed_keep is None and self._options.failed_for_ms is None:
            return _EVERY_S
        more = False
        for name, length in (await self._inspector.failed_lists()).items():
            old = await self._old(name, length, leadership.clock.now_ms())
            if not old:
                continue
            await self._archive(old)
            settled = [failures.EntryAction(entry, index) for index, entry in enumerate(old)]
            removed = (await failures.settle(self._inspector.store, name, settled)).count("removed")
            self._tell("failed_removed", name, removed)
            more = more or removed == _AT_ONCE
        return 0.0 if more else _EVERY_S

    async def _old(self, name: str, length: int, now_ms: int) -> list[FailedJob]:
        """The first entries of a list that are too many or too old, the oldest first."""
        keep, for_ms = self._options.failed_keep, self._options.failed_for_ms
        excess = 0 if keep is None else max(length - keep, 0)
        if not length or (not excess and for_ms is None):
            return []
        first = await failures.page(self._inspector.store, name, 0, _AT_ONCE - 1)
        if for_ms is None:
            return first[:excess]
        return first[: max(excess, _aged(first, now_ms - for_ms))]

    async def _archive(self, entries: list[FailedJob]) -> None:
        archive = self._options.failed_archive
        if archive is not None:
            await within(
                _called(archive, entries), _ARCHIVE_WITHIN_S, _late, "scheduler.failed_archive"
            )


def _aged(entries: Sequence[FailedJob], before_ms: int) -> int:
    """How many of the first failed before a time: up to the last that says so, and none behind the first that says
    it did not. Nobody can tell of one whose time can't be read, unless an older one stands behind it.
    """
    count = 0
    for number, each in enumerate(entries, 1):
        failed_ms = moment_of(each.failed_at)
        if failed_ms is not None and failed_ms >= before_ms:
            break
        count = count if failed_ms is None else number
    return count


async def _called(archive: Callable[[list[FailedJob]], Any], entries: list[FailedJob]) -> None:
    returned = archive(entries)
    if inspect.isawaitable(returned):
        await returned


def _late() -> UsageError:
    return UsageError(
        f"scheduler.failed_archive took longer than {_ARCHIVE_WITHIN_S:g} s: nothing is removed"
    )
