"""What somebody needs who is to help: the state of an installation in one document, without what jobs carry."""

from __future__ import annotations

import platform
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.errors import ResqpyError
from resqpy.base.imports import own_version
from resqpy.base.masking import Redaction
from resqpy.diagnosis import texts
from resqpy.diagnosis.doctor import Diagnosis
from resqpy.diagnosis.processes import processes
from resqpy.diagnosis.workers import (
    all_workers,
    group_json,
    installation,
    leader_json,
    pause_json,
    schedule_json,
)
from resqpy.engine.inspect.inspector import Resque
from resqpy.engine.inspect.schedule_view import ScheduleView
from resqpy.engine.options import LeaderOptions
from resqpy.engine.worker.heartbeat import WORDS
from resqpy.store.leader import standing

_SECTIONS = (
    "server",
    "memory",
    "clients",
    "stats",
    "persistence",
    "replication",
    "keyspace",
    "commandstats",
)
_PATHS = ("executable", "config_file")
# Problems whose words tell no more than names of queues, tasks, workers and hosts. Of all others, also those that
# nobody has thought of yet, only the name is told: keys of locks and limits have arguments of jobs in them.
_PLAIN = {
    "another ruby leader", "clock skew", "dead resqpy workers", "dead workers",
    "delayed jobs of another client", "disk", "empty times", "endless leader lock", "eviction", "limited queue",
    "lost delayed jobs", "many failed jobs", "memory", "no scheduler", "orphan timestamps", "overdue", "paused",
    "paused queue", "persistence", "queues that fall behind", "records of unknown workers", "replica",
    "schedules of a ruby process", "silent workers", "tasks of two versions", "two leaders", "unlisted queues",
    "unworked queue", "workers without signs", *(f"{state} workers" for state in WORDS),
}  # fmt: skip
_GROUPS = 50  # of failed jobs


class SupportBundle:
    """The document. A part that can't be read is its error.

    Args:
        settings: the project's, masked.
    """

    def __init__(
        self,
        resque: Resque,
        options: LeaderOptions,
        redaction: Redaction,
        settings: list[dict[str, Any]],
    ) -> None:
        self._resque = resque
        self._options = options
        self._redaction = redaction
        self._settings = settings

    async def read(self) -> dict[str, Any]:
        """All of it, with secrets hidden, and without what jobs carry: arguments, results, error messages and
        backtraces.

        Raises:
            StoreUnavailable, OutcomeUnknown: Redis can't be reached.
        """
        await self._resque.store.call("PING")
        parts: Mapping[str, Callable[[], Awaitable[Any]]] = {
            "problems": self._problems,
            "summary": self._summary,
            "leaders": self._leaders,
            "queues": self._queues,
            "processes": self._processes,
            "workers": self._workers,
            "failed": self._failed,
            "schedules": self._schedules,
            "redis": self._redis,
        }
        found: dict[str, Any] = {
            "about": {
                "at": texts.iso(SYSTEM_CLOCK.now_ms()),
                "resqpy": own_version(),
                "python": platform.python_version(),
                "system": platform.platform(),
                "namespace": self._resque.store.keys.namespace,
            },
            "settings": self._settings,
        }
        for name, part in parts.items():
            try:
                found[name] = await part()
            except ResqpyError as error:
                found[name] = {"error": str(error)}
        return {name: _hidden(part, self._redaction) for name, part in found.items()}

    async def _problems(self) -> Any:
        found = await Diagnosis(self._resque, self._options).problems()
        return [
            {"name": each.name, "grave": each.grave}
            | ({"problem": each.words, "remedy": each.remedy} if each.name in _PLAIN else {})
            for each in found
        ]

    async def _workers(self) -> Any:
        found = [each.as_json(lambda _: None) for each in await all_workers(self._resque)]
        return [{k: v for k, v in each.items() if k != "payload"} for each in found]

    async def _failed(self) -> Any:
        found = [group_json(each) for each in (await self._resque.failed_groups())[:_GROUPS]]
        return [{k: v for k, v in each.items() if k != "example_error"} for each in found]

    async def _redis(self) -> Any:
        found = {each: await self._resque.store.info(each) for each in _SECTIONS}
        return {n: {k: v for k, v in s.items() if k not in _PATHS} for n, s in found.items()}

    async def _summary(self) -> Any:
        return (await installation(self._resque)).as_json()

    async def _schedules(self) -> Any:
        timetable = await ScheduleView(self._resque, self._options).load()
        return [schedule_json(each) for each in timetable.entries]

    async def _leaders(self) -> Any:
        found = await standing(self._resque.store, self._options.ruby_lock_prefix)
        return [leader_json(each) for each in found]

    async def _queues(self) -> Any:
        paused = await self._resque.paused_queues()
        limits = await self._resque.running_limits()
        return {
            "paused": {name: pause_json(each) for name, each in paused.items()},
            "limits": {n: {"most": e.most, "running": len(e.running)} for n, e in limits.items()},
        }

    async def _processes(self) -> Any:
        return [each.as_json() for each in await processes(self._resque)]


def _hidden(value: Any, redaction: Redaction) -> Any:
    """The same with secrets in its texts hidden."""
    if isinstance(value, dict):
        return {str(key): _hidden(each, redaction) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_hidden(each, redaction) for each in value]
    return redaction.text(value) if isinstance(value, str) else value
