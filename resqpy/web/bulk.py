"""Bulk runs: all failed jobs that a filter selects are retried or removed, in the background, with the number that
was confirmed.

A run works in the process that was asked for it, in steps. Each step is written with its count, so what Redis
says is what has happened. While it works, it is held by a lease: if its process dies, it says how far it came, and
anybody may go on with it. An entry that was retried has left its list, so none is retried twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from resqpy.base.concurrency.own_tasks import OwnTask, own_task
from resqpy.base.errors import StoreError, repr_of
from resqpy.base.model import FailedJob
from resqpy.diagnosis import texts
from resqpy.engine.inspect.failed_jobs import Retrying, Wanted, matching, remove_some, retry_some
from resqpy.engine.inspect.inspector import Resque
from resqpy.store.connection.client import Arg, Store
from resqpy.store.failures import RunOver
from resqpy.store.queues import decode_name
from resqpy.web import trash
from resqpy.web.asking import raw_of
from resqpy.web.audit import note, note_of
from resqpy.web.visit import Visit

VERBS = ("retry", "remove")
FILTERS = ("class", "exception", "queue")
COUNTING, RUNNING, DONE = "counting", "running", "done"
DIFFERS, CANCELLED, INTERRUPTED = "differs", "cancelled", "interrupted"
STATES = (COUNTING, RUNNING, DONE, DIFFERS, CANCELLED, INTERRUPTED)
_LEASE_MS = 15_000
_LISTED = 50  # runs
_log = logging.getLogger("resqpy")


@dataclass(frozen=True)
class BulkRun:
    """A bulk run.

    Attributes:
        filter: by class, exception and queue.
        expected: how many were confirmed.
        state: `interrupted`: its process is gone, or could not go on; `differs`: there were more or fewer than
            confirmed, and nothing was touched.
        done: how many were retried or removed.
        found: how many there were, where they differ.
        undo: the id by which what was removed can be put back; "": it can't.
        error: why it could not go on.
    """

    id: str
    verb: str
    filter: Mapping[str, str]
    expected: int
    state: str
    done: int
    found: int | None
    who: str
    began_ms: int
    undo: str
    error: str

    @property
    def works(self) -> bool:
        """Whether somebody works on it."""
        return self.state in (COUNTING, RUNNING)

    @property
    def wanted(self) -> Wanted:
        """The filter, for lists."""
        return wanted_by(self.verb, self.filter)

    @property
    def what(self) -> str:
        """Its filter in words."""
        return ", ".join(f"{name} {value}" for name, value in self.filter.items())


def wanted_by(verb: str, chosen: Mapping[str, str]) -> Wanted:
    """What a run counts and touches: to be retried, nothing that Ruby has retried already and left in the list."""
    names = (chosen.get(name) for name in FILTERS)
    return Wanted.of(*names, retried=verb != "retry")


def run_json(run: BulkRun) -> dict[str, Any]:
    """For programs."""
    return {
        "id": run.id,
        "action": run.verb,
        "filter": dict(run.filter),
        "expected_count": run.expected,
        "state": run.state,
        "done": run.done,
        "found": run.found,
        "by": run.who,
        "began": texts.iso(run.began_ms),
        "undo": run.undo or None,
        "error": run.error or None,
    }


# -- what is known --


async def look(store: Store, run_id: str) -> BulkRun | None:
    """A run; None: there is none of that id, or no longer."""
    return (await _looked(store, [run_id]))[0] if trash.is_id(run_id) else None


async def latest(store: Store) -> list[BulkRun]:
    """The last runs, the newest first."""
    [ids] = await store.look([("LRANGE", store.keys.web_runs, 0, _LISTED - 1)])
    return [run for run in await _looked(store, [*map(decode_name, ids)]) if run is not None]


async def _looked(store: Store, ids: Sequence[str]) -> list[BulkRun | None]:
    hashes = [("HGETALL", store.keys.web("run", each)) for each in ids]
    now, *found = await store.look([("TIME",), *hashes])
    now_ms = int(now[0]) * 1000
    return [_run(run_id, flat, now_ms) for run_id, flat in zip(ids, found, strict=True)]


def _run(run_id: str, flat: Sequence[bytes], now_ms: int) -> BulkRun | None:
    pairs = zip(flat[::2], flat[1::2], strict=True)
    fields = {decode_name(name): decode_name(value) for name, value in pairs}
    if fields.get("verb") not in VERBS or fields.get("state") not in STATES:
        return None
    numbers = {
        name: int(text)
        for name in ("expected", "done", "found", "began", "until")
        if (text := fields.get(name, "")).isascii() and text.isdigit() and len(text) < 16
    }
    state = fields["state"]
    if state in (COUNTING, RUNNING) and numbers.get("until", 0) < now_ms:
        state = INTERRUPTED
    return BulkRun(
        id=run_id,
        verb=fields["verb"],
        filter={name: fields[name] for name in FILTERS if fields.get(name)},
        expected=numbers.get("expected", 0),
        state=state,
        done=numbers.get("done", 0),
        found=numbers.get("found"),
        who=fields.get("who", ""),
        began_ms=numbers.get("began", 0),
        undo=fields.get("undo", ""),
        error=fields.get("error", ""),
    )


# -- the work --


class BulkRuns:
    """The runs that this process works on."""

    def __init__(self) -> None:
        self._tasks: set[OwnTask[None]] = set()

    async def begin(
        self, visit: Visit, verb: str, wanted: Mapping[str, str], expected: int
    ) -> tuple[str, OwnTask[None]]:
        """Begin a run; returns its id, and what works on it."""
        store, run_id, runner = visit.resque.store, trash.new_id(), trash.new_id()
        runs = store.keys.web_runs
        time, known = await store.look([("TIME",), ("LLEN", runs)])
        now_ms = int(time[0]) * 1000 + int(time[1]) // 1000
        undo = trash.new_id() if verb == "remove" and expected <= trash.MOST else ""
        chosen = {name: wanted[name] for name in FILTERS if wanted.get(name)}
        fields: dict[str, Any] = {
            **{name: raw_of(value) for name, value in chosen.items()},
            "verb": verb, "expected": expected, "state": COUNTING, "who": raw_of(visit.who.who),
            "began": now_ms, "undo": undo, "until": now_ms + _LEASE_MS, "runner": runner,
        }  # fmt: skip
        key, words = (
            store.keys.web("run", run_id),
            [word for pair in fields.items() for word in pair],
        )
        what = f"failed jobs {', '.join(f'{k} {v}' for k, v in chosen.items())}"
        told = note_of(visit, verb, what, confirmed=expected, run=run_id, undo=undo)
        await store.transaction(
            [
                ("HSET", key, *words),
                ("EXPIRE", key, trash.KEPT_S),
                ("LPUSH", runs, run_id),
                *[("RPOP", runs)] * max(0, known + 1 - _LISTED),
                ("EXPIRE", runs, trash.KEPT_S),
                tuple(told),
            ]
        )
        return run_id, self._start(_Work(visit, run_id, runner))

    async def go_on(self, visit: Visit, run: BulkRun) -> bool:
        """Go on with a run that was interrupted, or found more jobs than were confirmed; False: it is in another
        state by now. It touches no more than were confirmed: whoever wants all of them confirms them again.
        """
        states: Sequence[str] = (COUNTING, RUNNING)
        fields: Mapping[str, Arg] = {"error": ""}
        if run.state == DIFFERS:
            states, fields = (DIFFERS,), {"state": RUNNING}
        work = _Work(visit, run.id, trash.new_id())
        if not await work.change(states, fields):
            return False
        await note(visit, "go on", f"bulk run {run.id}", confirmed=run.expected, done=run.done)
        self._start(work)
        return True

    async def cancel(self, visit: Visit, run: BulkRun) -> bool:
        """End a run where it is; False: it had ended."""
        states = (COUNTING, RUNNING, DIFFERS)
        if not await _change(visit.resque.store, run.id, states, {"state": CANCELLED}, anyway=True):
            return False
        await note(visit, "cancel", f"bulk run {run.id}", done=run.done)
        return True

    def _start(self, work: _Work) -> OwnTask[None]:
        task = own_task(work.do(), "resqpy-console-bulk")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Let go of all runs: others may go on with them at once."""
        tasks = [*self._tasks]
        for each in tasks:
            each.end()
        if tasks:
            await asyncio.wait(tasks, timeout=1)


class _Work:
    """Work on a run, while nobody else does.

    Args:
        runner: names who works.
    """

    def __init__(self, visit: Visit, run_id: str, runner: str) -> None:
        self._visit = visit
        self._resque: Resque = visit.resque
        self._store = visit.resque.store
        self._id = run_id
        self._runner = runner

    async def do(self) -> None:
        """Count, and then retry or remove; what happens is written in the run."""
        if not await self._hold():
            return
        holding = own_task(self._holding())
        error = ""
        try:
            await self._whole()
        except RunOver:
            pass  # cancelled, or somebody else has gone on with it
        except Exception as raised:
            error = str(raised) if isinstance(raised, StoreError) else repr_of(raised)
            _log.error("a bulk run of the console broke off: %s", error, exc_info=raised)
        finally:
            holding.end()
            with contextlib.suppress(StoreError):
                await self._let_go(error)
            self._visit.console.groups.forget()

    async def _let_go(self, error: str) -> None:
        shown = self._visit.console.options.redaction.text(error)
        await self.change((COUNTING, RUNNING), {"error": raw_of(shown)} if error else {}, 0)

    async def _whole(self) -> None:
        run = await look(self._store, self._id)
        if run is None:
            return
        if run.state == COUNTING:
            found = (await selected(self._resque, run.wanted)).count
            if found != run.expected:
                await self.change((COUNTING,), {"state": DIFFERS, "found": found}, 0)
                return
            if not await self.change((COUNTING,), {"state": RUNNING}):
                return
        beside = replace(trash.kept_as(run.undo), run=self._id, runner=self._runner)
        most, resque = run.expected - run.done, self._resque
        if run.verb == "retry":
            done = await retry_some(resque, Retrying(resque, beside), run.wanted, most=most)
        else:
            done = await remove_some(resque, run.wanted, most=most, beside=beside)
        if await self.change((RUNNING,), {"state": DONE}, 0):
            await note(
                self._visit, run.verb, f"bulk run {self._id}: {run.what}", count=run.done + done
            )

    async def _holding(self) -> None:
        while True:
            await asyncio.sleep(_LEASE_MS / 3000)
            with contextlib.suppress(StoreError):
                await self._hold()

    async def _hold(self) -> bool:
        return await self.change((COUNTING, RUNNING), {})

    async def change(
        self, states: Sequence[str], fields: Mapping[str, Arg], lease_ms: int = _LEASE_MS
    ) -> bool:
        """Change the run in these states, and work on it from now, if nobody else does."""
        return await _change(
            self._store, self._id, states, fields, runner=self._runner, lease_ms=lease_ms
        )


async def _change(
    store: Store,
    run_id: str,
    states: Sequence[str],
    fields: Mapping[str, Arg],
    *,
    runner: str = "",
    lease_ms: int = 0,
    anyway: bool = False,
) -> bool:
    """Change a run if it is in one of these states, and nobody else works on it, unless `anyway`."""
    words = [word for pair in fields.items() for word in pair]
    args = [f",{','.join(states)},", runner, lease_ms, int(anyway), *words]
    return bool(await store.run("change_bulk", [store.keys.web("run", run_id)], args))


@dataclass(slots=True)
class Selected:
    """What a filter selects.

    Attributes:
        retried: how many more match that Ruby has retried already, which are not to be retried again.
        first, last: the oldest and the newest; None: there is none.
    """

    count: int = 0
    retried: int = 0
    first: FailedJob | None = None
    last: FailedJob | None = None


async def selected(resque: Resque, wanted: Wanted) -> Selected:
    """What a filter selects now."""
    found = Selected()
    async with aclosing(matching(resque, replace(wanted, retried=True))) as entries:
        async for entry in entries:
            if entry.retried_at is not None and not wanted.retried:
                found.retried += 1
                continue
            found.count, found.first, found.last = found.count + 1, found.first or entry, entry
    return found
