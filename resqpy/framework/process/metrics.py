"""Metrics for `GET /metrics`: of a process, its task processors, event loop and leadership; and of the
installation in Redis, the same from every process. Those of jobs: `counting.py`.
"""

from __future__ import annotations

import asyncio
import sys
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any, Literal

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.concurrency.own_tasks import loop_delays
from resqpy.base.errors import OutcomeUnknown, PoolStateError, StoreError, StoreUnavailable, told
from resqpy.base.imports import own_version
from resqpy.base.model import NoList
from resqpy.engine.worker.heartbeat import WORDS, state_of
from resqpy.framework.logs.log import get_logger
from resqpy.framework.logs.writer import lines_lost
from resqpy.store import overview
from resqpy.store.connection.client import Store
from resqpy.tracked.records import status_sets

if TYPE_CHECKING:
    from resqpy.framework.api.resque import ResqueParts


# Metrics in the Prometheus text format, version 0.0.4.
#
# Source: https://prometheus.io/docs/instrumenting/exposition_formats/ ("Text-based format"), and
# https://prometheus.io/docs/practices/naming/ for the names (base units, `_total` for counters).

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Kind = Literal["counter", "gauge", "histogram"]
Labels = Mapping[str, str]


class Histogram:
    """Distribution of values.

    Args:
        bounds: the upper ends of the buckets, ascending; a value equal to one belongs to it.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds: Sequence[float] = bounds
        self.counts: list[int] = [0] * (len(bounds) + 1)
        self.total: float = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


@dataclass(frozen=True, slots=True)
class Metric:
    """All samples under one name.

    Attributes:
        values: by labels; `Histogram`s for a histogram.
    """

    name: str
    kind: Kind
    help: str
    values: list[tuple[Labels, float | Histogram]] = field(default_factory=list)

    def add(self, value: float | Histogram, **labels: str) -> None:
        """Add a sample with its labels."""
        self.values.append((labels, value))


def metric(name: str, kind: Kind, words: str, value: float | Histogram) -> Metric:
    """A metric with one value and no labels."""
    return Metric(name, kind, words, [({}, value)])


def render(metrics: Sequence[Metric]) -> bytes:
    """The text; metrics without values are left out."""
    lines: list[str] = []
    for each in metrics:
        if each.values:
            lines += _lines(each)
    return "".join(f"{line}\n" for line in lines).encode()


def _lines(metric: Metric) -> list[str]:
    lines = [f"# HELP {metric.name} {_escaped(metric.help)}", f"# TYPE {metric.name} {metric.kind}"]
    for labels, value in metric.values:
        if isinstance(value, Histogram):
            lines += _buckets(metric.name, labels, value)
        else:
            lines.append(_line(metric.name, labels, value))
    return lines


def _buckets(name: str, labels: Labels, histogram: Histogram) -> list[str]:
    lines, count = [], 0
    for bound, number in zip((*histogram.bounds, None), histogram.counts, strict=True):
        count += number
        end = "+Inf" if bound is None else f"{bound:g}"
        lines.append(_line(f"{name}_bucket", {**labels, "le": end}, count))
    total = _line(f"{name}_sum", labels, histogram.total)
    return [*lines, total, _line(f"{name}_count", labels, count)]


def _line(name: str, labels: Labels, value: float) -> str:
    pairs = ",".join(f'{key}="{_quoted(text)}"' for key, text in labels.items())
    shown = "+Inf" if value == inf else repr(value)
    return f"{name}{{{pairs}}} {shown}" if pairs else f"{name} {shown}"


def _escaped(text: str) -> str:
    """Names in Redis may be any bytes; what is not UTF-8 is shown by its number."""
    shown = text.encode("utf-8", "backslashreplace").decode()
    return shown.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', r"\"")


def of_the_application() -> bytes:
    """What the application counts itself, by the library `prometheus_client` in its default registry; nothing if
    it does not use that, which we never import.
    """
    library: Any = sys.modules.get("prometheus_client")
    if library is None:
        return b""
    try:
        text: bytes = library.generate_latest()
    except Exception as error:  # of a collector
        get_logger().error("the application's own metrics are missing", error=told(error))
        return b""
    return text


_DELAY_S = (0.001, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0)
_SAMPLE_S = 0.5


class LoopDelay:
    """How late the event loop is."""

    def __init__(self) -> None:
        self._seen = Histogram(_DELAY_S)

    async def watch(self) -> None:
        """Sample until cancelled."""
        async for delay_s in loop_delays(lambda: _SAMPLE_S):
            self._seen.observe(delay_s)

    def metrics(self) -> list[Metric]:
        """The measurements since the start."""
        words = f"How late the event loop of this process was, sampled every {_SAMPLE_S} s."
        return [metric("resqpy_event_loop_delay_seconds", "histogram", words, self._seen)]


def of_parts(resque: ResqueParts | None) -> list[Metric]:
    """Metrics of the parts of a process; nothing for missing parts."""
    version = Metric("resqpy_build_info", "gauge", "The version of resqpy.")
    version.add(1, version=own_version())
    words = "Log lines of this process that were lost: they could not be written, or their reader was too slow."
    found = [version, metric("resqpy_log_lines_lost_total", "counter", words, lines_lost())]
    if resque is not None and resque.multi_worker is not None:
        found += _of_worker(resque.multi_worker)
    if resque is not None and resque.scheduler is not None:
        leads = bool(getattr(resque.scheduler, "leader", False))
        words = "Whether this process leads among the resqpy schedulers."
        found.append(metric("resqpy_scheduler_leader", "gauge", words, int(leads)))
    return found


def _of_worker(worker: Any) -> list[Metric]:
    try:
        slots, scaling = worker.pool.slots, worker.scaling
    except (PoolStateError, AttributeError):  # not started, or not our class
        return []
    state = state_of(worker.pool, worker.options.cancel_timeout_s)
    states = Metric("resqpy_worker_state", "gauge", "The state of this worker process.")
    for name in ("working", *WORDS):
        states.add(int(name == (state or "working")), state=name)
    numbers = (
        ("", "Task processors of this process.", slots.size),
        ("_busy", "Task processors that are running a job.", len(slots.busy)),
        ("_min", "The minimum number of task processors.", scaling.min_task_processors),
        ("_max", "The maximum number of task processors.", scaling.max_task_processors),
    )
    left = Metric(
        "resqpy_left_behind",
        "gauge",
        "Coroutines, plain functions and child processes of jobs that were cut off and have not ended.",
    )
    for kind in ("coroutines", "functions", "children"):
        left.add(getattr(worker.pool.runner.left, kind), kind=kind)
    processors = [
        metric(f"resqpy_task_processors{end}", "gauge", words, value)
        for end, words, value in numbers
    ]
    return [states, *processors, left]


_KEPT_S = 5.0  # so that Redis is queried rarely, however often metrics are requested
_REDIS_WITHIN_S = 2.0


class Installation:
    """Queries Redis, and caches the result for a while."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: list[Metric] = []
        self._until = float("-inf")
        self._asking = asyncio.Lock()
        self._trouble = ""

    async def metrics(self) -> list[Metric]:
        """The metrics; only `resqpy_redis_up` if Redis does not answer."""
        async with self._asking:
            if SYSTEM_CLOCK.monotonic() >= self._until:
                self._kept = await self._ask()
                self._until = SYSTEM_CLOCK.monotonic() + _KEPT_S
        return self._kept

    async def _ask(self) -> list[Metric]:
        try:
            self._store.junk.clear()
            async with asyncio.timeout(_REDIS_WITHIN_S):
                found = metrics_of(await count_all(self._store))
        except (StoreError, TimeoutError) as error:
            away = isinstance(error, StoreUnavailable | OutcomeUnknown | TimeoutError)
            self._tell(str(error) or repr(error))
            found = []
        else:
            away, self._trouble = False, ""
        words = "Whether Redis answers this process."
        return [metric("resqpy_redis_up", "gauge", words, int(not away)), *found]

    def _tell(self, trouble: str) -> None:
        if trouble != self._trouble:
            get_logger().warning("no metrics from Redis", error=trouble)
        self._trouble = trouble


async def count_all(store: Store) -> overview.Numbers:
    """Count everything, including tracked tasks by status."""
    return await overview.count(store, status_sets(store.keys))


def _of_rules(numbers: overview.Numbers) -> list[Metric]:
    """Which queues are paused or limited."""
    paused = Metric("resqpy_queue_paused", "gauge", "1 for each paused queue.")
    for name in numbers.paused_queues:
        paused.add(1, queue=name)
    limit = Metric("resqpy_queue_limit", "gauge", "How many jobs of a queue may run at once.")
    running = Metric("resqpy_queue_limit_running", "gauge", "How many of them run.")
    for name, (most, count) in numbers.limits.items():
        limit.add(most, queue=name)
        running.add(count, queue=name)
    return [paused, limit, running]


def _of_ages(numbers: overview.Numbers) -> list[Metric]:
    """How long jobs wait, and how many come and go; nothing where no leader looks."""
    latency = Metric(
        "resqpy_queue_latency_seconds", "gauge", "How long the first waiting job has waited."
    )
    doubtful = Metric(
        "resqpy_queue_latency_approximate", "gauge", "1: that is not known to the second."
    )
    come = Metric("resqpy_queue_arrivals_total", "counter", "Jobs that were seen to come.")
    gone = Metric("resqpy_queue_departures_total", "counter", "Jobs that were seen to go.")
    drain = Metric(
        "resqpy_queue_drain_seconds",
        "gauge",
        "When it is empty, at the rates of the last half minute.",
    )
    for name, age in (numbers.ages or {}).items():
        latency.add((age.age_ms(numbers.now_ms) or 0) / 1000, queue=name)
        doubtful.add(int(age.accuracy != "exact"), queue=name)
        come.add(age.arrived, queue=name)
        gone.add(age.left, queue=name)
        drain.add(round(age.drain_s(numbers.now_ms), 3), queue=name)
    return [latency, doubtful, come, gone, drain]


def metrics_of(numbers: overview.Numbers) -> list[Metric]:
    """The metrics of an installation."""
    queues = Metric("resqpy_queue_jobs", "gauge", "Waiting jobs.")
    odd = Metric("resqpy_odd_keys", "gauge", "Keys of another type than Resque keeps there.")
    for name, count in numbers.queues.items():
        if isinstance(count, NoList):
            odd.add(1, key=f"queue:{name}")
        else:
            queues.add(count, queue=name)
    for key in numbers.odd:
        odd.add(1, key=key)
    failed = Metric("resqpy_failed_jobs", "gauge", "Jobs in the failed lists.")
    for name, count in numbers.failed.items():
        failed.add(count, list=name)
    tracked = Metric("resqpy_tracked_tasks", "gauge", "Tracked tasks.")
    for status, count in numbers.sets.items():
        tracked.add(count, status=status)
    times = "Seconds at which a delayed job is due."
    return [
        queues,
        *_of_ages(numbers),
        *_of_rules(numbers),
        failed,
        metric("resqpy_delayed_times", "gauge", times, numbers.delayed),
        metric("resqpy_workers", "gauge", "Workers of all languages.", numbers.workers),
        metric("resqpy_paused", "gauge", "Whether all workers are paused.", int(numbers.paused)),
        *(
            metric(f"resqpy_stat_{name}_total", "counter", f"Resque's counter stat:{name}.", count)
            for name, count in numbers.stats.items()
        ),
        tracked,
        odd,
    ]
