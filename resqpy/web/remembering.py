"""What takes long to read, read once for all who ask, in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.concurrency.own_tasks import OwnTask, own_task
from resqpy.diagnosis.browsing import AllQueues, AllWorkers
from resqpy.diagnosis.history import PERIODS, Period, RunHistory, load
from resqpy.diagnosis.processes import SeenProcess, processes
from resqpy.diagnosis.workers import all_workers
from resqpy.store import overview
from resqpy.web.access import ADMIN, OPERATE, READ
from resqpy.web.asking import Refusal
from resqpy.web.rendering import OF_ONE_VISIT, RenderedPage

if TYPE_CHECKING:
    from starlette.responses import Response

    from resqpy.engine.inspect.inspector import Resque
    from resqpy.web.visit import Endpoint, Visit

T = TypeVar("T")

# Of what is read of everything there is:
_SHARE = 0.02  # of the time goes into reading it, at most
_OLD = 10  # times as long it can be used while it is read again,
_OLDEST_S = 60.0  # but no longer
_BRIEF_S = 0.005  # that somebody waits for it then
_PATIENCE_S = 0.2  # that somebody waits for a page of it who has not asked for so long
_AGAIN_S = 1  # until such a page is asked for again


@dataclass(frozen=True, slots=True)
class AsOf:
    """When something was read.

    Attributes:
        late: it is older than it should be, and is being read again.
    """

    at_ms: int
    age_s: float
    late: bool


class Remembered(Generic[T]):
    """Reads something for at most one caller at a time, and keeps it for a while.

    Args:
        seconds: how long.
        from_start: from when reading began: nothing that is older is ever given.
        of_all: it is read of everything there is, so it may take long: then it is kept for longer, and while it is
            read again callers get what was read before, if that is not older than a minute.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[T]],
        seconds: float,
        *,
        from_start: bool = False,
        of_all: bool = False,
    ) -> None:
        self._read = read
        self.seconds = seconds
        self._from_start = from_start
        self._of_all = of_all
        self._task: OwnTask[T] | None = None
        self._value: T | None = None
        self._since_s = self._until_s = self._usable_until_s = float("-inf")

    @property
    def over(self) -> bool:
        """Whether there is nothing to keep it for."""
        return self._task is None and SYSTEM_CLOCK.monotonic() >= self._until_s

    async def get(self, patience_s: float | None = None) -> T | None:
        """What was read last; None: it is still being read, and was not ready in time.

        Args:
            patience_s: seconds to wait for it; None: until it is there.

        Raises:
            Exception: what reading raises.
        """
        if self._value is not None and SYSTEM_CLOCK.monotonic() < self._until_s:
            return self._value
        if self._task is None or self._task.done():
            self._task = own_task(self._keep(), "resqpy-console-reading")
        task = self._task
        if self._value is not None and SYSTEM_CLOCK.monotonic() < self._usable_until_s:
            patience_s = _BRIEF_S
        await asyncio.wait({task}, timeout=patience_s)
        if not task.done():
            return self._value
        self._task = None if self._task is task else self._task
        return None if task.cancelled() else task.result()

    async def soon(self) -> T:
        """What was read last, however old, if reading it again takes long: for pages, which say how old it is.

        Raises:
            Refusal: it has not been read yet; a moment later it has.
            Exception: what reading raises.
        """
        if (found := await self.get(_PATIENCE_S)) is None:
            raise Refusal(
                202,
                "Counting",
                "There is so much in this Redis that counting it takes a moment, and this console has just begun.",
                {"refresh": str(_AGAIN_S)},
            )
        return found

    async def current(self) -> T:
        """What was read last, or is being read; also if that begins once more meanwhile.

        Raises:
            Exception: what reading raises.
        """
        while (found := await self.get()) is None:
            pass
        return found

    @property
    def as_of(self) -> AsOf:
        """How old it is, once it has been read."""
        now_s = SYSTEM_CLOCK.monotonic()
        age_s = now_s - self._since_s
        at_ms = SYSTEM_CLOCK.now_ms() - round(age_s * 1000)
        reading = self._task is not None and not self._task.done()
        return AsOf(at_ms, age_s, reading and now_s >= self._usable_until_s)

    async def _keep(self) -> T:
        began_s = SYSTEM_CLOCK.monotonic()
        found = await self._read()
        now_s, keep_s = SYSTEM_CLOCK.monotonic(), self.seconds
        if self._of_all:
            keep_s = max(keep_s, (now_s - began_s) / _SHARE)
            self._usable_until_s = now_s + min(keep_s * _OLD, _OLDEST_S)
        self._since_s = began_s if self._from_start else now_s
        self._value, self._until_s = found, self._since_s + min(keep_s, _OLDEST_S)
        return found

    def expire(self) -> None:
        """Read it again for the next caller, because something was changed."""
        self._until_s = self._usable_until_s = float("-inf")
        self.close()

    def forget(self) -> None:
        """Do so, and give nobody what was read before."""
        self._value = None
        self.expire()

    def close(self) -> None:
        """Stop reading."""
        task, self._task = self._task, None
        if task is not None:
            task.end()


class Everything:
    """What is read of everything there is, once for all pages and all who watch.

    Args:
        resque: gives the Redis, once it is known.

    Attributes:
        history: what ran, by the name of the period.
    """

    def __init__(self, resque: Callable[[], Resque]) -> None:
        self._resque = resque
        self.queues: Remembered[AllQueues] = Remembered(self._queues, 0, of_all=True)
        self.workers: Remembered[AllWorkers] = Remembered(self._workers, 0, of_all=True)
        self.processes: Remembered[Sequence[SeenProcess]] = Remembered(
            self._processes, 0, of_all=True
        )
        self.history: dict[str, Remembered[RunHistory]] = {
            name: Remembered(partial(self._ran, period), HISTORY_S, of_all=True)
            for name, period in PERIODS.items()
        }
        self._of_tasks: dict[Hashable, Remembered[RunHistory]] = {}

    def ran(self, period: str, task: str | None = None) -> Remembered[RunHistory]:
        """What ran in a period.

        Args:
            task: only what ran of this one.
        """
        if task is None:
            return self.history[period]
        key = (period, task)
        if key not in self._of_tasks:
            _make_room(self._of_tasks)
            self._of_tasks[key] = Remembered(partial(self._ran, PERIODS[period], task), HISTORY_S)
        return self._of_tasks[key]

    async def _queues(self) -> AllQueues:
        return AllQueues.of(await overview.count(self._resque().store, {}))

    async def _workers(self) -> AllWorkers:
        found = await all_workers(self._resque())
        return AllWorkers.of(found, await self._resque().now_ms())

    async def _processes(self) -> Sequence[SeenProcess]:
        return await processes(self._resque(), (await self.workers.current()).found)

    async def _ran(self, period: Period, task: str | None = None) -> RunHistory:
        return await load(self._resque().store, period, task)

    async def numbers(self) -> overview.Numbers:
        """Those of the installation, as pages show them."""
        return (await self.queues.current()).numbers

    def expire(self) -> None:
        """Read again what changes with what is done here: all but the history."""
        self.queues.expire()
        self.workers.expire()
        self.processes.expire()

    def forget(self) -> None:
        """Read everything again."""
        self._of_tasks = {}
        self.queues.forget()
        self.workers.forget()
        self.processes.forget()
        for each in self.history.values():
            each.forget()


def oldest(*of: Remembered[Any]) -> AsOf:
    """How old a page is that shows several of them."""
    found = [each.as_of for each in of]
    return max(found, key=lambda each: (each.late, each.age_s))


_MOST = 50  # pages, or tasks
HISTORY_S = 10.0  # as often as processes write it
CURRENT_S = 2.0  # what is shared for longer, such as the history, has no news in this time


class SharedPages:
    """Reads a page once for all who ask for it within its time, so fifty who watch cost Redis what one does.

    What is shared is what the page shows, by what the role of who asks may see. The frame, with their name and
    their buttons, is each one's own.
    """

    def __init__(self) -> None:
        self._pages: dict[Hashable, Remembered[Response]] = {}

    async def get(self, visit: Visit, endpoint: Endpoint) -> Response:
        """The page. Who has just changed something gets a new one: it may have been in another process."""
        query = visit.request.query_params.multi_items()
        if any(name == "done" for name, _ in query):
            visit.console.forget()
            return await endpoint.handler(visit)
        asked = tuple(pair for pair in query if pair[0] not in OF_ONE_VISIT)
        may = tuple(visit.who.allows(scope) for scope in (READ, OPERATE, ADMIN))
        key = (visit.path, asked, may, visit.wants_csv)
        if key not in self._pages:
            _make_room(self._pages)
            read = partial(endpoint.handler, visit)
            self._pages[key] = Remembered(read, endpoint.shared_s, from_start=True)
        found = await self._pages[key].get()
        assert found is not None  # reading is never cut off
        if isinstance(found, RenderedPage):
            if found.late:
                self._pages.pop(key, None)
            found = found.of(visit)
        return found

    def news(self) -> None:
        """Read the pages again that show how things are now: new numbers have come."""
        kept = {key: each for key, each in self._pages.items() if each.seconds > CURRENT_S}
        self._pages = kept

    def forget(self) -> None:
        """Read all pages again, because something was changed. Who asked before gets what was read before."""
        self._pages = {}


def _make_room(kept: dict[Hashable, Remembered[T]]) -> None:
    """For one more: without those that are over, and the first ones if there are too many."""
    for key in [key for key, each in kept.items() if each.over]:
        del kept[key]
    while len(kept) >= _MOST:
        del kept[next(iter(kept))]
