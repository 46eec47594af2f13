"""Events of workers and schedulers as log lines, each at the configured level.

An event whose level is filtered out gets no listener, so it costs nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from resqpy.base import activejob, codec
from resqpy.base.codec import quoted
from resqpy.base.errors import OutcomeUnknown, PayloadError, StoreUnavailable, notes_of, told
from resqpy.base.job_records import UNREADABLE
from resqpy.base.masking import masked_text
from resqpy.base.model import Job
from resqpy.engine.lifecycle import PLAIN, SUCCEEDED
from resqpy.engine.run import Run, current_run
from resqpy.engine.traceback_text import PlainTraceback, lines_of, place_of
from resqpy.engine.worker.running import EndedJob
from resqpy.framework.config.config import Config
from resqpy.framework.logs.log import DirectLines, Filter, Line, direct_lines, get_logger, of_slot
from resqpy.framework.tasks.arguments import named_args, shown_args
from resqpy.framework.tasks.spec import TaskSpec

_MAX_ERROR_CHARS = 1000  # characters
_SKIPPED = "job skipped: a plugin or middleware forbids its run"
_EXPIRED = "job expired: it waited too long to be run"
_KEPT = "its exact bytes are in the failed list (resqpy failed)"
Describe = Callable[..., Line | None]
T = TypeVar("T")


class Emitting(Protocol):
    """Something that emits events."""

    def on(self, event: str, listener: Any) -> Any: ...

    def off(self, event: str, listener: Any) -> Any: ...


class EventLog:
    """Logs the events of the parts of a process.

    Args:
        root: the project's directory; the location of a failure is given relative to it.
        tasks: by name, for the names of arguments.
    """

    def __init__(
        self, config: Config, root: Path, tasks: Mapping[str, TaskSpec] | None = None
    ) -> None:
        self._tasks = tasks or {}
        self._config = config
        self._root = root
        self._log = get_logger().bind()
        self._least = logging.getLevelName(config.logger.level.upper())
        self._filter = Filter(config.logger)
        self._following: list[Callable[[], None]] = []
        self._listening: list[Callable[[], None]] = []

    def set_level(self, level: str) -> None:
        """Log events of this level and above from now on; the others have no listener."""
        self._least = logging.getLevelName(level.upper())
        for stop in self._listening:
            stop()
        self._listening.clear()
        for follow in self._following:
            follow()

    def follow_worker(self, worker: Emitting) -> None:
        """Log the events of a `MultiWorker`, whose first argument is the number of the task processor."""
        self._following.append(partial(self._follow_worker, worker))
        self._follow_worker(worker)

    def follow_scheduler(self, scheduler: Emitting) -> None:
        """Log the events of a `Scheduler`."""
        self._following.append(partial(self._follow_scheduler, scheduler))
        self._follow_scheduler(scheduler)

    def _follow_worker(self, worker: Emitting) -> None:
        levels = self._config.tasks.worker_logging
        self._listen(
            worker, "start", levels.start, lambda number: ("worker started", of_slot(number))
        )
        self._listen(worker, "end", levels.end, lambda number: ("worker ended", of_slot(number)))
        self._listen(worker, "poll", levels.poll, lambda number, *_: ("polling", of_slot(number)))
        self._listen(worker, "ping", levels.ping, lambda number, *_: ("ping", of_slot(number)))
        self._listen(worker, "pause", levels.pause, lambda number, *_: ("no work", of_slot(number)))
        self._listen(worker, "job", levels.job, self._job)
        self._follow_ends(worker, levels)
        self._listen(worker, "skipped", levels.success, partial(self._unrun, _SKIPPED))
        self._listen(worker, "expired", levels.re_enqueue, partial(self._unrun, _EXPIRED))
        self._listen(worker, "snoozed", levels.re_enqueue, self._snoozed)
        self._listen(worker, "re_enqueue", levels.re_enqueue, self._re_enqueue)
        for event in ("cleaning_worker", "clean_stuck_worker"):
            self._listen(worker, event, levels.cleaning_worker, lambda _, *told: _cleaning(*told))
        self._listen(worker, "put_back", levels.cleaning_worker, lambda _, *told: _put_back(*told))
        self._listen(
            worker, "clean_stuck_worker", levels.failure, lambda _, *told: _failed_by_rescue(*told)
        )
        self._listen(worker, "error", levels.internal_error, _unless_away(_error))
        self._listen(worker, "multi_worker_action", levels.multi_worker_action, _scaling)

    def _follow_scheduler(self, scheduler: Emitting) -> None:
        levels = self._config.tasks.scheduler_logging
        for event, level in (
            ("start", levels.start),
            ("end", levels.end),
            ("leader", levels.leader),
            ("follower", levels.follower),
            ("poll", levels.poll),
        ):
            self._listen(scheduler, event, level, _plain(f"scheduler: {event}"))
        self._listen(scheduler, "enqueue", levels.enqueue, self._moved("enqueued"))
        self._listen(scheduler, "re_enqueue", levels.re_enqueue, self._moved("re-enqueued"))
        self._listen(scheduler, "working_timestamp", levels.working_timestamp, _timestamp)
        moved = self._moved("transferred job")
        self._listen(scheduler, "transferred_job", levels.transferred_job, moved)
        for event in ("clean_stuck_worker", "cleaning_worker"):
            self._listen(scheduler, event, levels.cleaning_worker, _cleaning)
        self._listen(scheduler, "put_back", levels.cleaning_worker, _put_back)
        self._listen(scheduler, "failed_removed", levels.cleaning_worker, _failed_removed)
        failure = self._config.tasks.worker_logging.failure
        self._listen(scheduler, "clean_stuck_worker", failure, _failed_by_rescue)
        self._listen(scheduler, "error", levels.internal_error, _unless_away(_scheduler_error))

    def _follow_ends(self, worker: Emitting, levels: Any) -> None:
        success, failure = self._success, self._failure
        for level, event, all_of_them, describe in (
            (levels.success, "success", "successes", success),
            (levels.failure, "failure", "failures", failure),
        ):
            listener = self._listener(level, describe)
            direct = None if self._config.logger.arguments else direct_lines(level or "")
            if listener is None:
                continue
            if direct is None or (describe is failure and not direct.as_json):
                self._on(worker, event, listener)
            elif describe is success:
                self._on(worker, all_of_them, partial(self._successes, listener, direct))
            else:
                lines = _FailureLines(direct, listener, failure, self._filter)
                self._on(worker, all_of_them, lines.write)

    def _listen(self, part: Emitting, event: str, level: str | None, describe: Describe) -> None:
        if (listener := self._listener(level, describe)) is not None:
            self._on(part, event, listener)

    def _on(self, part: Emitting, event: str, listener: Callable[..., None]) -> None:
        part.on(event, listener)
        self._listening.append(partial(part.off, event, listener))

    def _listener(self, level: str | None, describe: Describe) -> Callable[..., None] | None:
        """What logs an event; None: its line would not be written."""
        if level is None or logging.getLevelName(level.upper()) < self._least:
            return None
        write, direct = getattr(self._log, level), direct_lines(level)

        def listener(*details: Any) -> None:
            line = describe(*details)
            if line is not None and (direct is None or not direct.log(*line)):
                write(line[0], **line[1])

        return listener

    # -- jobs --

    def _of(self, number: int, queue: str, job: Job) -> dict[str, Any]:
        told = {
            **_task(job.class_name or codec.class_of(job.raw)),  # the bytes may still contain it
            "queue": queue,
            **of_slot(number),
            **_of_run(current_run.get(None)),
        }
        if self._config.logger.arguments and job.class_name:
            told["inputs"] = self._inputs(job)
        return told

    def _inputs(self, job: Job) -> Any:
        task = self._tasks.get(job.class_name)
        if (named := named_args(task, job.args)) is not None:
            return self._filter.shown(named)
        shown = shown_args(task, job.args, self._filter)
        return shown[0] if len(shown) == 1 else shown

    def _job(self, number: int, queue: str, job: Job) -> Line:
        return "job started", self._of(number, queue, job)

    def _success(self, number: int, queue: str, job: Job, result: Any, took_ms: int) -> Line:
        told = self._of(number, queue, job)
        return "job succeeded", {**told, "result": self._filter.shown(result), "ms": took_ms}

    def _successes(
        self,
        listener: Callable[..., None],
        direct: DirectLines,
        _: int,
        ends: Sequence[EndedJob],
    ) -> None:
        """For most jobs this is the only line: it is made of its parts if there is nothing special about it."""
        time = direct.time()
        lines: list[str] = []
        for end in ends:
            run, number = end.run, end.slot.number
            job = run.job
            usual = end.outcome is SUCCEEDED and run.attempt is None and run.lifecycle is PLAIN
            if not (usual and time):
                direct.write(lines)
                lines.clear()
                _in(run, listener, number, job.queue, job, end.outcome.result, end.duration_ms)
                continue
            key = (number, job.queue, job.class_name, run.waited_ms)
            if (parts := direct.parts(key)) is None:
                line = _in(run, self._success, number, job.queue, job, None, direct.MS)
                parts = _in(run, direct.keep, key, *line)
            before, between, after = parts
            lines.append(f"{before}{time}{between}{end.duration_ms}{after}")
        direct.write(lines)

    def _unrun(self, words: str, number: int, queue: str, job: Job) -> Line:
        return words, self._of(number, queue, job)

    def _failure(self, number: int, queue: str, job: Job, error: Any, took_ms: int) -> Line:
        words = self._filter.text(_words(error))
        told = {**self._of(number, queue, job), "error": words}
        if isinstance(error, PayloadError):
            return "job failed", {**told, "kept": _KEPT}
        told["ms"] = took_ms
        if isinstance(error, BaseException):
            where = place_of(error, self._root)
            told |= {"where": where} if where else {}
            run = current_run.get(None)
            known = run.traceback if run is not None and run.error is error else None
            told["traceback"] = self._filter.text("\n".join(known or lines_of(error)))
        return "job failed", told

    def _re_enqueue(self, number: int, queue: str, job: Job, info: Any) -> Line:
        return "job delayed", {**self._of(number, queue, job), "info": self._filter.shown(info)}

    def _snoozed(self, number: int, queue: str, job: Job, info: Any) -> Line:
        return "job snoozed", {**self._of(number, queue, job), **self._filter.shown(info)}

    def _moved(self, words: str) -> Describe:
        def describe(second: Any = None, job: Any = None, *_: Any) -> Line:
            told = job if isinstance(job, dict) else {"class": getattr(job, "class_name", None)}
            return words, {**_task(told.get("class")), "queue": told.get("queue"), "at": second}

        return describe


class _FailureLines:
    """In an incident the same place fails again and again: the line is made of its parts if nothing in it might be
    masked.

    Args:
        listener: logs any failure.
        describe: makes its line.
    """

    _PARTS = 5  # what stands around time, message, milliseconds, and message

    def __init__(
        self,
        direct: DirectLines,
        listener: Callable[..., None],
        describe: Describe,
        redaction: Filter,
    ) -> None:
        self._direct = direct
        self._listener = listener
        self._describe = describe
        self._filter = redaction

    def write(self, _: int, ends: Sequence[EndedJob]) -> None:
        """Write the lines of some."""
        time = self._direct.time()
        lines: list[str] = []
        for end in ends:
            run, trace = end.run, end.run.traceback
            if time and type(trace) is PlainTraceback and self._is_usual(run, trace.words):
                parts = self._parts(end, trace)
                if len(parts) == self._PARTS:
                    begin, name, ms, where, last = parts
                    words = quoted(trace.words)[1:-1]
                    lines.append(
                        f"{begin}{time}{name}{words}{ms}{end.duration_ms}{where}{words}{last}"
                    )
                    continue
            self._direct.write(lines)
            lines.clear()
            _in(run, self._listener, *_of_end(end), end.duration_ms)
        self._direct.write(lines)

    def _is_usual(self, run: Run, words: str) -> bool:
        """Whether a failure is one of a plain job, with a message of plain letters without secrets and URLs."""
        plain = run.attempt is None and run.lifecycle is PLAIN and words.isascii()
        fit = plain and words.isprintable() and "=" not in words and "://" not in words
        return fit and words != "" and self._filter.text(words) == words

    def _parts(self, end: EndedJob, lines: PlainTraceback) -> Sequence[str]:
        run, direct, error = end.run, self._direct, end.outcome.error
        key = (
            end.slot.number, run.queue, run.class_name, run.waited_ms, type(error), lines.place
        )  # fmt: skip
        if (parts := direct.parts(key)) is not None:
            return parts
        line = _in(run, self._describe, *_of_end(end), direct.MS)
        assert line is not None
        event, told = line
        stack, size = "\n".join((*lines[:-1], "")), len(lines.words)
        ends = all(told[each].endswith(lines.words) for each in ("error", "traceback"))
        if (
            ends
            and self._filter.text(stack) == stack
            and masked_text(quoted(stack)) == quoted(stack)
        ):
            told |= {each: told[each][:-size] + direct.WORDS for each in ("error", "traceback")}
        return _in(run, direct.keep, key, event, told)


def _of_end(end: EndedJob) -> tuple[int, str, Job, BaseException | None]:
    return end.slot.number, end.run.queue, end.run.job, end.outcome.error


def _in(run: Run, function: Callable[..., T], *args: Any) -> T:
    """Call it with a current run."""
    token = current_run.set(run)
    try:
        return function(*args)
    finally:
        current_run.reset(token)


def _task(name: Any) -> dict[str, Any]:
    """The field of that name; none if unknown, or if it is our placeholder for unreadable jobs."""
    return {"task": name} if name and name != UNREADABLE else {}


def _of_run(run: Run | None) -> dict[str, Any]:
    """What is known of a run besides its job: the attempt, how long it waited, and what its lifecycle adds."""
    if run is None:
        return {}
    told = {} if run.waited_ms is None else {"waited_ms": run.waited_ms}
    if run.attempt is None:
        return {**told, **run.lifecycle.facts()}
    attempt, of = run.attempt
    return {"attempt": attempt, **told} if of is None else {"attempt": attempt, "of": of, **told}


def _unless_away(describe: Describe) -> Describe:
    """An unreachable Redis is reported once for all parts (process/parts.py), not by each of them."""

    def described(error: Any, *details: Any) -> Line | None:
        away = isinstance(error, StoreUnavailable | OutcomeUnknown)
        return None if away else describe(error, *details)

    return described


def _plain(words: str) -> Describe:
    return lambda *_: (words, {})


def _timestamp(second: Any, *_: Any) -> Line:
    return "working timestamp", {"at": second}


def _cleaning(worker: Any, *details: Any) -> Line:
    return "dead worker removed", {
        "name": str(worker),
        "silent_s": details[-1] if details else None,
    }


def _put_back(worker: str, queue: str, task: str | None, times: int) -> Line:
    """A job whose worker died, for the nth time, and which is back at the head of its queue."""
    told = {**_task(task), "queue": queue, "worker": worker, "times_lost": times}
    return "job put back: its worker died", told


def _failed_by_rescue(worker: Any, entry: Any = None, *_: Any) -> Line | None:
    """A job whose worker died and that is not run again; None: it is, or there was none."""
    if not entry:
        return None
    get = entry.get if isinstance(entry, Mapping) else partial(getattr, entry)
    payload = get("payload")
    name = activejob.class_in(payload) if isinstance(payload, Mapping) else None
    return "job failed", {
        **_task(name),
        "queue": get("queue"),
        "worker": str(worker),
        "error": f"{get('exception')}: {get('error')}",
        **({"kept": _KEPT} if name == UNREADABLE else {}),
    }


def _failed_removed(name: str, number: int) -> Line:
    return "old failed jobs removed", {"list": name, "jobs": number}


def _error(error: Any, number: int, queue: Any = None, job: Any = None) -> Line:
    told = {"error": _words(error), "queue": queue, **of_slot(number)}
    if isinstance(job, Job):
        told |= _task(job.class_name)
    return "worker error", told


def _scheduler_error(error: Any, *_: Any) -> Line:
    return "scheduler error", {"error": _words(error)}


def _words(error: Any) -> str:
    """An error's class and message: not shortened like inputs, because people need it."""
    if not isinstance(error, BaseException):
        return str(error)
    words = told(error)
    if notes := notes_of(error):
        words += f" ({'; '.join(notes)})"
    return words if len(words) <= _MAX_ERROR_CHARS else f"{words[:_MAX_ERROR_CHARS]}…"


def _scaling(verb: str, delay_ms: float, reason: str) -> Line:
    return "scaling", {"verb": verb, "delay_ms": round(delay_ms, 1), "reason": reason}
