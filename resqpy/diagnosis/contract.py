"""Whether the project's tasks still accept the existing jobs: the checks of `resqpy doctor --jobs`."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from shlex import quote
from typing import Any, Generic, TypeVar

from resqpy.base.errors import InvalidInputs
from resqpy.base.imports import near_match
from resqpy.base.keys import split_priority
from resqpy.base.masking import Redaction
from resqpy.base.model import UnreadableJob
from resqpy.diagnosis.checks import Problem
from resqpy.diagnosis.explaining import ExplainedTask
from resqpy.diagnosis.texts import argument, compact, counted
from resqpy.diagnosis.workers import failed_id
from resqpy.engine.inspect.inspector import Resque

T = TypeVar("T", bound=ExplainedTask)

WAITING, DELAYED, FAILED = "waiting", "delayed", "failed"
MAXIMUM = 200  # kinds of findings: each job may have a different class

# Where the rejected value begins: findings with the same text before it are one.
_VALUE = re.compile(r", got |: |; the job's args are ")


@dataclass
class _Finding:
    """Jobs of one class that are rejected for one reason, or whose class is unknown.

    Attributes:
        reason: why; "": the class is unknown.
        example: the arguments of the first of them, and all that is wrong with them.
        worked: one of them is in a queue of this project's tasks.
    """

    where: str
    class_name: str
    reason: str
    example: dict[str, Any]
    count: int = 0
    queues: set[str] = field(default_factory=set)
    worked: bool = False


class Contract(Generic[T]):
    """One check of all jobs of an installation. It remembers kinds of findings, not jobs.

    Args:
        tasks: those of the project, by name.
        check: raises `InvalidInputs` if a task does not accept some arguments.
        redaction: hides secrets in examples.
        shown: a task's arguments (None: it is unknown) for display.
    """

    def __init__(
        self,
        resque: Resque,
        tasks: Mapping[str, T],
        check: Callable[[T, Sequence[Any]], object],
        redaction: Redaction,
        shown: Callable[
            [T | None, Sequence[Any], Redaction], list[Any]
        ] = lambda _, args, redaction: redaction.shown(list(args)),
    ) -> None:
        self._shown = shown
        self._resque, self._tasks, self._check, self._redaction = resque, tasks, check, redaction
        self._queues = {task.queue for task in tasks.values()}
        self._findings: dict[tuple[str, str, str], _Finding] = {}
        self._left_out = 0

    async def problems(self) -> list[Problem]:
        """What the project rejects or does not know, waiting jobs first."""
        async for where, queue, class_name, args, more in self._jobs():
            self._look(where, queue, class_name, args, more)
        order = (WAITING, DELAYED, FAILED)
        found = sorted(self._findings.values(), key=lambda e: (order.index(e.where), -e.count))
        problems = [self._refused(each) if each.reason else self._unknown(each) for each in found]
        if self._left_out:
            words = f"{counted(self._left_out, 'job')} of other classes or with other reasons"
            problems.append(Problem("further jobs", words, "fix those above, and run it again"))
        return problems

    async def _jobs(
        self,
    ) -> AsyncIterator[tuple[str, str | None, str, Sequence[Any], dict[str, Any]]]:
        for queue in await self._resque.queues():
            async for job in self._resque.each_queued(queue):
                if not isinstance(job, UnreadableJob):
                    yield WAITING, queue, job.class_name, job.args, {}
        async for due_ms, job in self._resque.each_delayed():
            if not isinstance(job, UnreadableJob):
                yield DELAYED, job.queue, job.class_name, job.args, {"at_ms": due_ms}
        async for entry in self._resque.each_failed():
            if entry.class_name and entry.unreadable is None:
                more = {"id": failed_id(entry)}
                yield FAILED, entry.queue, entry.class_name, entry.args, more

    def _look(
        self, where: str, queue: str | None, name: str, args: Sequence[Any], more: dict[str, Any]
    ) -> None:
        task, reason, words = self._tasks.get(name), "", ""
        if task is None and where == FAILED:
            return  # nobody will run it unless asked
        if task is not None:
            try:
                self._check(task, args)
            except InvalidInputs as error:
                words = str(error).removeprefix(f"task {name!r}: ")
                reason = _VALUE.split(words, maxsplit=1)[0]
            else:
                return
        key = where, name, reason
        if key not in self._findings and len(self._findings) >= MAXIMUM:
            self._left_out += 1
            return
        example = {"queue": queue, **more, **({"why": words} if words else {})}
        example = {
            **self._redaction.shown(example),
            "args": self._shown(task, args, self._redaction),
        }
        found = self._findings.setdefault(key, _Finding(*key, example))
        self._count(found, queue)

    def _count(self, found: _Finding, queue: str | None) -> None:
        found.count += 1
        if queue is None:
            return
        found.worked = found.worked or split_priority(queue)[0] in self._queues
        if len(found.queues) < MAXIMUM:
            found.queues.add(queue)

    def _refused(self, found: _Finding) -> Problem:
        failed = found.where == FAILED
        return Problem(
            "refused jobs",
            f"{_jobs(found)}: {found.reason}; {self._example(found)}",
            f"a retry would fail again; to remove them: {_removal(found)}"
            if failed
            else "they would fail: accept the new inputs under another task name until these are gone; to remove "
            f"them: {_removal(found)}",
            grave=not failed,
            details=_details(found),
        )

    def _unknown(self, found: _Finding) -> Problem:
        hint = near_match(found.class_name, self._tasks)
        where = "" if found.worked else ", in a queue that none of its tasks uses"
        return Problem(
            "unknown class",
            f"{_jobs(found)}, which this project does not define{hint}{where}; {self._example(found)}",
            "a worker of this project would fail them: keep the old name besides the new one for a while"
            if found.worked
            else "",
            grave=found.worked,
            details=_details(found),
        )

    def _example(self, found: _Finding) -> str:
        shown = compact(found.example["args"], self._redaction)
        shown = shown if len(shown) <= 80 else f"{shown[:80]}…"
        return f"one of them has {shown} (queue {found.example['queue']!r})"


def _removal(found: _Finding) -> str:
    """The command that removes the jobs of a class from where they were found."""
    queue = f" {argument(min(found.queues, default='QUEUE'))}" if found.where == WAITING else ""
    where = {WAITING: "jobs", DELAYED: "delayed", FAILED: "failed"}[found.where]
    return f"resqpy {where} remove --class {quote(found.class_name)}{queue}"


def _jobs(found: _Finding) -> str:
    return f"{counted(found.count, f'{found.where} job')} of {found.class_name!r}"


def _details(found: _Finding) -> dict[str, Any]:
    return {
        "where": found.where,
        "class": found.class_name,
        "reason": found.reason or None,
        "count": found.count,
        "queues": sorted(found.queues),
        "example": found.example,
    }
