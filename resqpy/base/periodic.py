"""What makes a task periodic, how processes announce it in Redis, and the job it becomes.

The job has one additional key, `resqpy_at`: the time for which it was enqueued. It is not an argument, so
the task, its plugins' locks and foreign workers don't notice it; a job rebuilt by a Ruby or Node scheduler
or retry button loses it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypedDict, get_args

from resqpy.base import codec
from resqpy.base.errors import UsageError
from resqpy.base.keys import check_queue_name
from resqpy.base.model import Job
from resqpy.base.when import EPOCH, Duration, duration_ms

if TYPE_CHECKING:
    from resqpy.base.cron.cron import CronSchedule

Missed = Literal["skip", "once", "all"]

AT = "resqpy_at"
NO_INPUTS: tuple[Any, ...] = ({},)  # ActionHero enqueues a task without inputs like this
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Periodic:
    """When a task runs by itself: its frequency or cron schedule.

    Attributes:
        frequency_ms: milliseconds from one run to the next; None: it has a cron schedule.
        queue: where its jobs go.
        args: the arguments of its jobs.
        missed: what to do about cron times at which no scheduler was leading.
        window_ms: how far back "once" and "all" look for them.
        continue_on_failure: a chain continues after a failed run.
    """

    frequency_ms: int | None = None
    cron: CronSchedule | None = None
    queue: str = "default"
    args: tuple[Any, ...] = NO_INPUTS
    missed: Missed = "skip"
    window_ms: int = DAY_MS
    continue_on_failure: bool = True

    @property
    def cron_text(self) -> str:
        """The cron schedule as text, to detect changes; empty if it has none."""
        return "" if self.cron is None else f"{self.cron.expression}|{self.cron.zone_name}"

    @property
    def kind(self) -> Literal["frequency", "cron"]:
        """Where its times come from."""
        return "frequency" if self.cron is None else "cron"

    @property
    def timing(self) -> str:
        """Its timing, for people."""
        if self.cron is None:
            return f"every {(self.frequency_ms or 0) / 1000:g} s"
        zone, expression = self.cron.zone_name, self.cron.expression
        return expression if expression.endswith(zone) else f"{expression} {zone}"

    @property
    def arguments(self) -> Sequence[Any]:
        """The arguments of its jobs."""
        return self.args

    def job(self, name: str, at_ms: int, args: Sequence[Any] | None = None) -> bytes:
        """The job that runs at a time.

        Args:
            args: the arguments, if an enqueue hook changed them.
        """
        given = self.args if args is None else args
        return with_time(codec.encode_job(name, self.queue, given), at_ms)


class Timing(TypedDict, total=False):
    """The keywords that make a task periodic; see `periodic_of`."""

    frequency: Duration
    cron: str | CronSchedule | None
    timezone: str | None
    queue: str
    args: Sequence[Any]
    missed: Missed
    missed_window: Duration
    re_enqueue_on_exception: bool


def periodic_of(words: Timing) -> Periodic | None:
    """Parse these keywords; None: the task is not periodic.

    Keys:
        frequency: milliseconds or a timedelta; 0: none. cron: an expression of five or six fields, in
            `timezone` unless it names a zone itself. missed: "skip", "once" or "all"; `missed_window`:
            milliseconds or a timedelta.

    Raises:
        UsageError: they contradict each other or are invalid.
    """
    frequency_ms = duration_ms(words.get("frequency", 0), "frequency")
    cron = words.get("cron")
    if isinstance(cron, str):
        from resqpy.base.cron.cron import CronSchedule  # noqa: PLC0415 - most tasks have none

        cron = CronSchedule.parse(cron, words.get("timezone"))
    if cron is not None and frequency_ms:
        raise UsageError("cron and frequency are both set; a task can have only one of them")
    if cron is None and not frequency_ms:
        return None
    missed = words.get("missed", "skip")
    if missed not in get_args(Missed):
        raise UsageError(f"missed is {missed!r}; it must be 'skip', 'once' or 'all'")
    args = tuple(words.get("args", NO_INPUTS))
    codec.encode_args(args)
    return Periodic(
        frequency_ms=frequency_ms or None,
        cron=cron,
        queue=check_queue_name(words.get("queue", "default")),
        args=args,
        missed=missed,
        window_ms=duration_ms(words.get("missed_window", DAY_MS), "missed_window"),
        continue_on_failure=words.get("re_enqueue_on_exception", True),
    )


# -- the announcement: what a leader that hasn't loaded the task needs to know --


def encode(periodic: Periodic) -> bytes:
    """The text kept in `Keys.periodic_tasks`."""
    told: dict[str, Any] = {"queue": periodic.queue, "args": list(periodic.args)}
    if periodic.cron is None:
        told |= {"frequency": periodic.frequency_ms}
    else:
        told |= {"cron": periodic.cron.expression, "timezone": _zone_text(periodic.cron)}
        told |= {"missed": periodic.missed, "window": periodic.window_ms}
    return codec.encode_text(told)


def _zone_text(schedule: CronSchedule) -> str:
    """A zone as `CronSchedule.parse` accepts it: a fixed offset's name is `UTC+02:00`."""
    name = schedule.zone_name
    return name.removeprefix("UTC") or name


def decode(raw: bytes) -> Periodic:
    """Read an announcement, possibly from another version of resqpy.

    Raises:
        UsageError: it can't be read.
    """
    told = codec.decode_lenient(raw)
    if not isinstance(told, Mapping) or not isinstance(told.get("args"), list):
        raise UsageError(f"the announcement of a periodic task is malformed: {raw[:200]!r}")
    words: Timing = {
        "frequency": told.get("frequency") or 0,
        "cron": told.get("cron"),
        "timezone": told.get("timezone"),
        "queue": told.get("queue", "default"),
        "args": told["args"],
        "missed": told.get("missed", "skip"),
        "missed_window": told.get("window", DAY_MS),
    }
    periodic = periodic_of(words)
    if periodic is None:
        raise UsageError(f"the announcement has neither a frequency nor a cron: {raw[:200]!r}")
    return periodic


# -- its job --


def with_time(raw: bytes, at_ms: int) -> bytes:
    """A job of ours with the time for which it was enqueued."""
    return raw[:-1] + _end(at_ms)


def _end(at_ms: int) -> bytes:
    return f',"{AT}":{at_ms}}}'.encode()


def is_of(raw: bytes, at_ms: int) -> bool:
    """Whether a job of ours was enqueued for a time."""
    return raw.endswith(_end(at_ms))


def time_of(job: Job) -> int | None:
    """The time (ms) for which a job was enqueued, if it has one."""
    at = job.extra.get(AT)
    return at if isinstance(at, int) and not isinstance(at, bool) else None


def marks(name: str, at_ms: int) -> list[bytes]:
    """What each text of such a job contains, even if a foreign worker has re-encoded it: Node's record of
    it comes from Redis' Lua, which reorders the keys and escapes slashes.
    """
    words = codec.encode_text(name)[1:-1].split(b"/")
    return [f'"{AT}":{at_ms}'.encode(), *(word for word in words if word)]


# -- milliseconds and datetimes --


def to_datetime(ms: int) -> datetime:
    """The moment in UTC."""
    return EPOCH + timedelta(milliseconds=ms)


def to_ms(moment: datetime) -> int:
    """Milliseconds since the epoch of an aware moment."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def next_on_grid(from_ms: int, step_ms: int, now_ms: int) -> int:
    """The first of `from + step`, `from + 2 * step`, … after now. If `from` is in the future (a clock was
    set back, or a run was triggered early): one step from now.
    """
    if now_ms < from_ms:
        return now_ms + step_ms
    return from_ms + ((now_ms - from_ms) // step_ms + 1) * step_ms
