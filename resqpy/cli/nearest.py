"""The job that is most like one that was looked for and is not there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from resqpy.base.imports import near_match
from resqpy.base.job_filter import JobFilter
from resqpy.base.model import Job, UnreadableJob
from resqpy.base.when import Moment, ceil_second, moment_ms
from resqpy.cli import views
from resqpy.diagnosis import texts
from resqpy.engine.inspector import Inspector
from resqpy.store import delayed

_QUEUES = 50
_JOBS = 200  # of each queue, and of those that are delayed


async def nearest(inspector: Inspector, wanted: JobFilter) -> str:
    """`; the nearest is …`, with what is different; an empty text where nothing is like it.

    It looks at the first jobs of some queues, and at the first that are delayed.
    """
    best: tuple[int, str] | None = None
    names: dict[str, None] = {}
    async for job, where in _some(inspector, wanted.queue):
        if isinstance(job, UnreadableJob):
            continue
        names[job.class_name] = None
        differs = wanted.differences(job)
        if "class" not in differs and (best is None or len(differs) < best[0]):
            best = len(differs), _words(job, where, differs)
    return best[1] if best is not None else _by_name(wanted, names)


async def nearest_time(inspector: Inspector, at: Moment) -> str:
    """`; the nearest time is …`, where something is delayed; an empty text where nothing is."""
    second = ceil_second(moment_ms(at))
    found = await delayed.around(inspector.store, second)
    if not found:
        return ""
    near = min(found, key=lambda each: abs(each - second))
    return f"; the nearest time is {texts.local(near * 1000)}"


async def _some(inspector: Inspector, queue: str | None) -> AsyncIterator[tuple[Job, str]]:
    names = await inspector.queues()
    for name in [queue, *names][: _QUEUES + 1]:
        if name is not None:
            for job in await inspector.queued(name, 0, _JOBS - 1):
                yield job, f"in the queue {name!r}"
    for due_ms, jobs in (await inspector.all_delayed(_JOBS)).items():
        for job in jobs:
            yield job, f"delayed until {texts.local(due_ms)}, for the queue {job.queue!r}"


def _words(job: Job, where: str, differs: list[str]) -> str:
    arguments = f" with {views.args(job.args)}" if "args" in differs else ""
    other = f" (other {' and '.join(differs)})" if differs else ""
    return f"; the nearest is a {job.class_name}{arguments} {where}{other}"


def _by_name(wanted: JobFilter, names: Iterable[str]) -> str:
    return near_match(wanted.class_name, names) if wanted.class_name else ""
