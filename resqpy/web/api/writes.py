"""Changes by `/api/v1`: enqueue, pause, retry, remove, run. Each is audited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resqpy.base import codec, reading
from resqpy.base.errors import UnknownTask, UsageError
from resqpy.base.imports import near_match
from resqpy.base.keys import check_queue_name
from resqpy.base.model import Enqueued, UnreadableJob
from resqpy.base.when import delay_ms, moment_ms
from resqpy.engine.inspect.schedule_view import ScheduleView
from resqpy.engine.queue.queue import NewJob
from resqpy.engine.queue.removing import Advancing
from resqpy.framework.tasks.arguments import args_of
from resqpy.store import delayed, queues
from resqpy.web.api.endpoint import Answer, ApiEndpoint, Call, in_path
from resqpy.web.api.idempotency import KEY, once
from resqpy.web.api.problems import ApiProblem, after_a_write
from resqpy.web.api.reads import (
    AT,
    DIGEST,
    LIST,
    QUEUE,
    SECOND,
    find_delayed,
    find_failed,
    find_item,
    known_queue,
)
from resqpy.web.api.schema import moment
from resqpy.web.api.serving import no_scope

OPERATE, ADMIN = ("operate",), ("admin",)
MAX_JOBS = 1000
MS = {"type": "integer", "minimum": 0, "maximum": 10**13}
TIME = {"type": "string", "format": "date-time", "maxLength": 40}

# -- jobs --

_JOB = {
    "type": "object",
    "required": ["task"],
    "additionalProperties": False,
    "properties": {
        "task": {"type": "string", "minLength": 1, "maxLength": 600},
        "inputs": {"type": "object", "description": "Its inputs by name."},
        "args": {
            "type": "array",
            "description": "Instead of inputs: the arguments of a task in another language.",
        },
        "queue": {
            "type": "string",
            "minLength": 1,
            "maxLength": 512,
            "description": "Default: the task's own. Needed for a task that this project has not.",
        },
        "at": {**TIME, "description": "When it is due; default: now."},
        "delay_ms": {**MS, "description": "Instead of `at`: how long it waits."},
    },
}
_JOBS = {"oneOf": [_JOB, {"type": "array", "items": _JOB, "minItems": 1, "maxItems": MAX_JOBS}]}
_JOB_DONE = {
    "type": "object",
    "properties": {
        "task": {"type": "string"},
        "queue": {"type": "string"},
        "enqueued": {"type": "boolean"},
        "refused": {
            "type": ["string", "null"],
            "description": "Why not: the name of the plugin that forbade it; `once`: a repetition; "
            "`duplicate`: an equal job is due at that time; `full`: the queue is.",
        },
    },
}


@dataclass(frozen=True, slots=True)
class WantedJob:
    """A job of a request, checked."""

    job: NewJob
    at_ms: int | None
    in_ms: int | None

    @property
    def now(self) -> bool:
        """Whether it is due now."""
        return self.at_ms is None and self.in_ms is None


async def _post_jobs(call: Call) -> Answer:
    several = isinstance(call.body, list)
    given: list[dict[str, Any]] = call.body if several else [call.body]
    wanted = [_wanted(call, each, number if several else None) for number, each in enumerate(given)]
    return await once(call, lambda name: _enqueue(call, wanted, name, several=several))


def _wanted(call: Call, given: Mapping[str, Any], number: int | None) -> WantedJob:
    if not call.access.allows(scope := f"enqueue:{given['task']}"):
        raise no_scope(call.endpoint.scopes, scope)
    try:
        job = _job_of(call, given)
        if codec.has_record(job[2]):
            raise UsageError(
                f"inputs: {codec.TASK_ID!r} is reserved; create a tracked task instead"
            )
        codec.encode_job(job[1], check_queue_name(job[0]), job[2])
        if "at" in given and "delay_ms" in given:
            raise UsageError("at and delay_ms can't be combined")
        at_ms = moment_ms(moment(given["at"]) or 0, "at") if "at" in given else None
        in_ms = delay_ms(given["delay_ms"], "delay_ms") if "delay_ms" in given else None
    except UsageError as error:
        if number is not None:
            error.args = (f"job {number}: {error}; nothing was enqueued",)
        raise
    return WantedJob(job, at_ms, in_ms)


def _job_of(call: Call, given: Mapping[str, Any]) -> NewJob:
    name, registry = given["task"], call.parts.registry
    if "inputs" in given and "args" in given:
        raise UsageError("inputs and args can't be combined")
    task = registry.tasks.get(name) if registry is not None else None
    if task is not None and "args" not in given:
        args = args_of(task, task.inputs.as_sent(given.get("inputs", {})))
        return given.get("queue", task.queue), name, args
    if "queue" not in given:
        known = registry.tasks if registry is not None else {}
        raise UnknownTask(
            f"no task named {name!r} is known here{near_match(name, known)}; name its queue to enqueue it anyway"
        )
    return given["queue"], name, given.get("args", [given.get("inputs", {})])


async def _enqueue(call: Call, wanted: Sequence[WantedJob], name: str, *, several: bool) -> Answer:
    """Those that are due now in one step; each later one in its own."""
    queue = call.parts.resque
    now = [each for each in wanted if each.now]
    jobs = [each.job for each in now]
    done = iter(await queue.enqueued_many(jobs, once=name or None) if now else [])
    told = list[dict[str, Any]]()
    for number, each in enumerate(wanted):
        own = f"{name}:{number}" if name else None
        with after_a_write("some of the jobs were enqueued", written=bool(now or told)):
            what = next(done) if each.now else await _later(call, each, own)
        told.append(
            {
                "task": each.job[1],
                "queue": each.job[0],
                "enqueued": bool(what),
                "refused": what.refused,
            }
        )
    made = sum(each["enqueued"] for each in told)
    await call.audit("enqueue", ", ".join(sorted({e["task"] for e in told})), count=made)
    if not several:
        refused = told[0]["refused"]
        if refused is not None and refused != "once":
            raise ApiProblem("refused", f"{refused!r} forbids it; nothing was enqueued")
        return Answer(told[0], 201 if made else 200)
    return Answer({"data": told, "enqueued": made}, 201 if made == len(told) else 200)


async def _later(call: Call, each: WantedJob, own: str | None) -> Enqueued:
    queue, in_ms = call.parts.resque, each.in_ms or 0
    done = await queue.enqueued_later(each.job, at_ms=each.at_ms, in_ms=in_ms, once=own)
    # None: its time has come
    return await queue.enqueued(*each.job, once=own) if done is None else done


async def _remove_job(call: Call) -> Any:
    name, store = await known_queue(call), call.parts.resque.store
    item = await find_item(call, store.keys.queue(name))
    if item is None or not await queues.drop(store, name, [item]):
        raise ApiProblem("not-found", f"no job of the queue {name!r} has that id: it was taken")
    await call.audit("remove job", name, id=call.values["id"])
    return {"removed": 1}


# -- queues --

_PAUSE = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "reason": {"type": "string", "maxLength": 500},
        "duration_ms": {**MS, "minimum": 1, "description": "Default: until it is resumed."},
    },
}
_CHANGED = {"type": "object", "properties": {"changed": {"type": "boolean"}}}


async def _pause(call: Call) -> Any:
    name, given = call.values["queue"], call.body
    changed = await call.parts.resque.pause_queue(
        name, given.get("duration_ms"), reason=given.get("reason", ""), by=call.access.who
    )
    await call.audit("pause queue", name, undo="resume", **given)
    return {"changed": changed}


async def _resume(call: Call) -> Any:
    name = call.values["queue"]
    changed = await call.parts.resque.resume_queue(name)
    await call.audit("resume queue", name, undo="pause")
    return {"changed": changed}


async def _delete_queue(call: Call) -> Any:
    name = await known_queue(call)
    count = await call.parts.resque.del_queue(name)
    await call.audit("delete queue", name, count=count)
    return {"removed": count}


# -- failed jobs --

_RETRY = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "queue": {
            "type": "string",
            "minLength": 1,
            "maxLength": 512,
            "description": "Another queue than the one it failed in.",
        }
    },
}


async def _retry(call: Call) -> Any:
    entry, queue = await find_failed(call), call.body.get("queue")
    if queue is not None:
        check_queue_name(queue)
    if not await call.parts.resque.retry_and_remove_failed(entry, queue):
        raise ApiProblem("refused", "a plugin or a lock of its task forbids it; the entry stays")
    await call.audit("retry", entry.class_name or "?", id=call.values["id"], count=1)
    return {"retried": 1}


async def _remove_failed(call: Call) -> Any:
    entry = await find_failed(call)
    removed = await call.parts.resque.remove_failed(entry)
    if not removed:
        raise ApiProblem("not-found", "it was removed or retried meanwhile")
    await call.audit("remove failed", entry.class_name or "?", id=call.values["id"])
    return {"removed": removed}


# -- delayed jobs --


async def _run_delayed(call: Call) -> Any:
    item, second = await find_delayed(call), call.values["second"]
    job, advancing = reading.show_delayed(item.raw), Advancing(call.parts.resque)
    if advancing.stays(job):
        raise ApiProblem("wrong-state", _why_it_stays(job))
    if not await advancing.advance(second, [item]):
        raise ApiProblem("refused", "a plugin or a lock of its task forbids it, or it is gone")
    await call.audit("run delayed", job.class_name, id=call.values["id"], second=second)
    return {"enqueued": 1}


def _why_it_stays(job: Any) -> str:
    if isinstance(job, UnreadableJob):
        return f"the job can't be read: {job.problem}"
    if codec.has_record(job.args):
        return "it belongs to a tracked task: run that (POST /tasks/{id}/run), or cancel it"
    return "it names no queue"


async def _remove_delayed(call: Call) -> Any:
    item, second = await find_delayed(call), call.values["second"]
    job = reading.show_delayed(item.raw)
    if not isinstance(job, UnreadableJob) and codec.has_record(job.args):
        raise ApiProblem("wrong-state", _why_it_stays(job))
    gone = await delayed.drop(call.parts.resque.store, second, [item])
    if not gone:
        raise ApiProblem("not-found", "it is gone: its time has come, or it was removed")
    await call.audit("remove delayed", job.class_name, id=call.values["id"], second=second)
    return {"removed": len(gone)}


# -- schedules --

SCHEDULE = in_path("name", "The name of a periodic task or schedule.")


async def _change_schedule(call: Call) -> Any:
    name, verb = call.values["name"], call.endpoint.path.rpartition("/")[2]
    view = ScheduleView(call.parts.resque)
    act = {"run": view.trigger, "pause": view.pause, "resume": view.resume}[verb]
    try:
        changed = await act(name)
    except UnknownTask as error:
        raise ApiProblem("not-found", str(error)) from error
    if verb == "run" and not changed:
        raise ApiProblem("refused", "its one job is under way, or a plugin forbids it")
    undo = {"pause": "resume", "resume": "pause"}.get(verb, "")
    await call.audit(f"{verb} schedule", name, undo=undo)
    return {"changed": changed}


_DONE = {"type": "object"}
_FOUND = ("not-found",)
_REFUSED = ("not-found", "refused", "wrong-state", "under-replicated")

WRITES = [
    ApiEndpoint("POST", "/jobs", ("enqueue:{task}",), "Enqueue a job, or up to 1,000. If one is wrong, none is "
                "enqueued. Those that are due now are enqueued in one step, then each later one in its own; 503 "
                "says that none was, 504 that some may have been.", _post_jobs, (KEY,), _JOBS,
                {"anyOf": [_JOB_DONE, {"type": "object"}]}, 201,
                ("refused", "in-progress", "other-request", "queue-full", "under-replicated")),
    ApiEndpoint("POST", "/queues/{queue}/pause", OPERATE, "Pause a queue; also one that is to come.", _pause,
                (QUEUE,), _PAUSE, _CHANGED),
    ApiEndpoint("POST", "/queues/{queue}/resume", OPERATE, "End the pause of a queue.", _resume, (QUEUE,),
                answer=_CHANGED),
    ApiEndpoint("DELETE", "/queues/{queue}", ADMIN, "Delete a queue with all its jobs.", _delete_queue, (QUEUE,),
                answer=_DONE, problems=_FOUND),
    ApiEndpoint("DELETE", "/queues/{queue}/jobs/{id}", OPERATE, "Remove a waiting job.", _remove_job,
                (QUEUE, DIGEST, AT), answer=_DONE, problems=_FOUND),
    ApiEndpoint("POST", "/failed/{id}/retry", OPERATE, "Put a failed job back into its queue, in one step.",
                _retry, (DIGEST, AT, LIST), _RETRY, _DONE, problems=_REFUSED),
    ApiEndpoint("DELETE", "/failed/{id}", OPERATE, "Remove a failed job.", _remove_failed, (DIGEST, AT, LIST),
                answer=_DONE, problems=_FOUND),
    ApiEndpoint("POST", "/delayed/{second}/{id}/run", OPERATE, "Run a delayed job now.", _run_delayed,
                (SECOND, DIGEST), answer=_DONE, problems=_REFUSED),
    ApiEndpoint("DELETE", "/delayed/{second}/{id}", OPERATE, "Remove a delayed job.", _remove_delayed,
                (SECOND, DIGEST), answer=_DONE, problems=_REFUSED),
    *(ApiEndpoint("POST", f"/schedules/{{name}}/{verb}", OPERATE, summary, _change_schedule, (SCHEDULE,),
                  answer=_CHANGED, problems=_REFUSED)
      for verb, summary in (("run", "Run a periodic task or schedule now."), ("pause", "Pause it."),
                            ("resume", "Resume it."))),
]  # fmt: skip
