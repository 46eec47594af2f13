"""Jobs that are to be enqueued, from a request of the API or a form: checked, with their time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resqpy.base import codec
from resqpy.base.errors import UnknownTask, UsageError
from resqpy.base.imports import near_match
from resqpy.base.keys import check_queue_name
from resqpy.base.model import Enqueued, FailedJob
from resqpy.base.when import delay_ms, moment_ms
from resqpy.engine.queue.queue import NewJob, Queue
from resqpy.framework.tasks.arguments import args_of
from resqpy.framework.tasks.spec import TaskSpec
from resqpy.web.asking import moment


@dataclass(frozen=True, slots=True)
class WantedJob:
    """A job of a request, checked.

    Attributes:
        at_ms, in_ms: when it is due; None: now.
    """

    job: NewJob
    at_ms: int | None
    in_ms: int | None

    @property
    def now(self) -> bool:
        """Whether it is due now."""
        return self.at_ms is None and self.in_ms is None


def wanted_job(tasks: Mapping[str, TaskSpec], given: Mapping[str, Any]) -> WantedJob:
    """A job as the body of `POST /jobs` has it.

    Args:
        tasks: those of the project.

    Raises:
        UsageError: what is wrong.
    """
    job = _job_of(tasks, given)
    if codec.has_record(job[2]):
        raise UsageError(f"inputs: {codec.TASK_ID!r} is reserved; create a tracked task instead")
    codec.encode_job(job[1], check_queue_name(job[0]), job[2])
    if "at" in given and "delay_ms" in given:
        raise UsageError("at and delay_ms can't be combined")
    at_ms = moment_ms(moment(given["at"]) or 0, "at") if "at" in given else None
    in_ms = delay_ms(given["delay_ms"], "delay_ms") if "delay_ms" in given else None
    return WantedJob(job, at_ms, in_ms)


def _job_of(tasks: Mapping[str, TaskSpec], given: Mapping[str, Any]) -> NewJob:
    name = given["task"]
    if "inputs" in given and "args" in given:
        raise UsageError("inputs and args can't be combined")
    task = tasks.get(name)
    if task is not None and "args" not in given:
        args = args_of(task, task.inputs.as_sent(given.get("inputs", {})))
        return given.get("queue", task.queue), name, args
    if "queue" not in given:
        raise UnknownTask(
            f"no task named {name!r} is known here{near_match(name, tasks)}; name its queue to enqueue it anyway"
        )
    return given["queue"], name, given.get("args", [given.get("inputs", {})])


def editable_job(entry: FailedJob) -> tuple[str, list[Any]] | None:
    """Class and arguments of a failed job, as its bytes have them; None: it has none, or belongs to a record."""
    job = entry.payload if isinstance(entry.payload, dict) else {}
    name, args = job.get("class"), job.get("args")
    if not isinstance(name, str) or not name or not isinstance(args, list):
        return None
    return None if codec.has_record(args) else (name, args)


async def enqueue_wanted(queue: Queue, wanted: WantedJob, once: str | None) -> Enqueued:
    """Enqueue it, now or for its time.

    Args:
        once: names this very request, which may be repeated.
    """
    if not wanted.now:
        at_ms, in_ms = wanted.at_ms, wanted.in_ms or 0
        done = await queue.enqueued_later(wanted.job, at_ms=at_ms, in_ms=in_ms, once=once)
        if done is not None:  # else its time has come
            return done
    return await queue.enqueued(*wanted.job, once=once)
