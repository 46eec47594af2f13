"""Changes by `/api/v1`: enqueue, pause, retry, remove, run. Each is audited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from resqpy.base.errors import InvalidInputs, UnknownTask, UsageError
from resqpy.base.keys import check_queue_name
from resqpy.store.sweep import Item
from resqpy.web import bulk, changing
from resqpy.web.api.endpoint import Answer, ApiEndpoint, Call, in_path, paged
from resqpy.web.api.idempotency import KEY, once
from resqpy.web.api.problems import ApiProblem, after_a_write, of_inputs, problem_of
from resqpy.web.api.reads import (
    AT,
    DIGEST,
    LIST,
    QUEUE,
    READ,
    SECOND,
    known_queue,
    sought_failed,
    sought_item,
)
from resqpy.web.api.serving import no_scope
from resqpy.web.jobs import WantedJob, enqueue_wanted, wanted_job

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


async def _post_jobs(call: Call) -> Answer:
    several = isinstance(call.body, list)
    given: list[dict[str, Any]] = call.body if several else [call.body]
    wanted = [_wanted(call, each, number if several else None) for number, each in enumerate(given)]
    return await once(call, lambda name: _enqueue(call, wanted, name, several=several))


def _wanted(call: Call, given: Mapping[str, Any], number: int | None) -> WantedJob:
    if not call.access.allows(scope := f"enqueue:{given['task']}"):
        raise no_scope(call.endpoint.scopes, scope)
    try:
        return wanted_job(call.parts.tasks, given)
    except UsageError as error:
        if number is not None:
            error.args = (f"job {number}: {error}; nothing was enqueued",)
        if isinstance(error, InvalidInputs):
            raise of_inputs(error, "" if number is None else f"/{number}") from error
        raise


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
            what = next(done) if each.now else await enqueue_wanted(queue, each, own)
        told.append(
            {
                "task": each.job[1],
                "queue": each.job[0],
                "enqueued": bool(what),
                "refused": what.refused,
            }
        )
    made = sum(each["enqueued"] for each in told)
    if not several:
        refused = told[0]["refused"]
        if refused is not None and refused != "once":
            raise ApiProblem("refused", f"{refused!r} forbids it; nothing was enqueued")
        return Answer(told[0], 201 if made else 200)
    return Answer({"data": told, "enqueued": made}, 201 if made == len(told) else 200)


async def _remove_job(call: Call) -> Any:
    name, store = await known_queue(call), call.parts.resque.store
    item = await sought_item(call, store.keys.queue(name), f"job of the queue {name!r}")
    if not await changing.remove_waiting(call.visit, name, item):
        raise ApiProblem("not-found", "it was taken meanwhile")
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
    reason, duration_ms = given.get("reason", ""), given.get("duration_ms")
    return {"changed": await changing.pause_queue(call.visit, name, reason, duration_ms)}


async def _resume(call: Call) -> Any:
    return {"changed": await changing.resume_queue(call.visit, call.values["queue"])}


async def _delete_queue(call: Call) -> Any:
    return {"removed": await changing.delete_queue(call.visit, await known_queue(call))}


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
    entry, queue = await sought_failed(call), call.body.get("queue")
    if queue is not None:
        check_queue_name(queue)
    if not await changing.retry_failed(call.visit, entry, queue):
        raise ApiProblem("refused", "a plugin or a lock of its task forbids it; the entry stays")
    return {"retried": 1}


async def _remove_failed(call: Call) -> Any:
    if not await changing.remove_failed(call.visit, await sought_failed(call)):
        raise ApiProblem("not-found", "it was removed or retried meanwhile")
    return {"removed": 1}


# -- worker processes --

_STOP = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "timeout_ms": {
            **MS,
            "description": "How long running jobs may go on. Default: as the process is configured.",
        },
    },
}
_ORDERED = {
    "type": "object",
    "properties": {
        "answer": {
            "type": ["object", "null"],
            "description": "How it is now; null: it has not answered within two seconds, and may obey "
            "within five minutes. With `error` it could not; with `waits` its event loop is blocked, and "
            "it obeys later.",
        },
    },
}
PROCESS = in_path("id", "The `id` of a worker process of resqpy.", maxLength=100)


async def _quiet_process(call: Call) -> Any:
    return await _ordered(call, "quiet")


async def _stop_process(call: Call) -> Any:
    return await _ordered(call, "stop", call.body.get("timeout_ms"))


async def _ordered(call: Call, verb: str, timeout_ms: int | None = None) -> Any:
    found = await call.visit.console.everything.processes.current()
    process = next((each for each in found if each.id == call.values["id"]), None)
    if process is None:
        raise ApiProblem("not-found", "there is no such process; GET /processes has them all")
    return {"answer": await changing.order_process(call.visit, verb, process, timeout_ms)}


# -- many failed jobs at once --

_NAME = {"type": "string", "minLength": 1, "maxLength": 600}
_BULK = {
    "type": "object",
    "required": ["action", "filter", "expected_count"],
    "additionalProperties": False,
    "properties": {
        "action": {"type": "string", "enum": [*bulk.VERBS]},
        "filter": {
            "type": "object",
            "additionalProperties": False,
            "properties": dict.fromkeys(bulk.FILTERS, _NAME),
            "description": "By `class`, `exception` and `queue`; one of them at least.",
        },
        "expected_count": {
            "type": "integer",
            "minimum": 1,
            "maximum": 10**9,
            "description": "How many there are. If there are more or fewer, nothing is touched, and the "
            "state becomes `differs`.",
        },
    },
}
_RUN = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "state": {"type": "string", "enum": [*bulk.STATES]},
        "done": {"type": "integer", "description": "How many were retried or removed by now."},
        "found": {
            "type": ["integer", "null"],
            "description": "How many there were, if that is another number than expected.",
        },
    },
}
RUN = in_path("id", "The `id` of a bulk run.", maxLength=100)


async def _begin_bulk(call: Call) -> Answer:
    action, chosen, expected = (call.body[each] for each in ("action", "filter", "expected_count"))
    if not chosen:
        raise ApiProblem("wrong-request", "filter: give a class, an exception or a queue")
    run_id, _ = await call.visit.console.bulk.begin(call.visit, action, chosen, expected)
    place = call.visit.url(f"/api/v1/bulk/{run_id}")
    return Answer(await _told_run(call, run_id), 202, {"Location": place})


async def _sought_run(call: Call, run_id: str) -> bulk.BulkRun:
    found = await bulk.look(call.parts.resque.store, run_id)
    if found is None:
        raise ApiProblem("not-found", "there is no such run; each is kept for a day")
    return found


async def _told_run(call: Call, run_id: str) -> Any:
    return bulk.run_json(await _sought_run(call, run_id))


async def _bulk_run(call: Call) -> Any:
    return await _told_run(call, call.values["id"])


async def _cancel_bulk(call: Call) -> Any:
    run = await _sought_run(call, call.values["id"])
    if not await call.visit.console.bulk.cancel(call.visit, run):
        raise ApiProblem("wrong-state", f"it has ended: {run.state}")
    return await _told_run(call, run.id)


async def _go_on_bulk(call: Call) -> Answer:
    run = await _sought_run(call, call.values["id"])
    if not await call.visit.console.bulk.go_on(call.visit, run):
        words = "somebody works on it" if run.works else f"it has ended: {run.state}"
        raise ApiProblem("wrong-state", words)
    return Answer(await _told_run(call, run.id), 202)


async def _bulk_runs(call: Call) -> Any:
    runs = await bulk.latest(call.parts.resque.store)
    return {"data": [bulk.run_json(each) for each in runs], "next": None}


# -- delayed jobs --


async def _due(call: Call) -> tuple[int, Item]:
    second: int = call.values["second"]
    key = call.parts.resque.store.keys.delayed(second)
    return second, await sought_item(call, key, f"job due at the second {second}")


async def _run_delayed(call: Call) -> Any:
    if not await changing.run_delayed(call.visit, *await _due(call)):
        raise ApiProblem("refused", "a plugin or a lock of its task forbids it, or it is gone")
    return {"enqueued": 1}


async def _remove_delayed(call: Call) -> Any:
    if not await changing.remove_delayed(call.visit, *await _due(call)):
        raise ApiProblem("not-found", "it is gone: its time has come, or it was removed")
    return {"removed": 1}


# -- schedules --

SCHEDULE = in_path("name", "The name of a periodic task or schedule.")


async def _change_schedule(call: Call) -> Any:
    verb = call.endpoint.path.rpartition("/")[2].replace("run", "run now")
    changed = await changing.change_schedule(call.visit, verb, call.values["name"])
    if verb == "run now" and not changed:
        raise ApiProblem("refused", "its one job is under way, or a plugin forbids it")
    return {"changed": changed}


_TIMES = {
    "task": {**_NAME, "description": "Default: the task with the name of the schedule."},
    "inputs": {"type": "object", "description": "Its inputs by name."},
    "args": {
        "type": "array",
        "description": "Instead of inputs, of a foreign class: its arguments.",
    },
    "cron": {
        **_NAME,
        "description": "Five fields, or six with the seconds first, and perhaps a time zone.",
    },
    "every_ms": {**MS, "minimum": 1, "description": "Instead of `cron`: from one run to the next."},
    "timezone": {**_NAME, "description": "Of `cron`; default: the project's."},
    "queue": {**_NAME, "maxLength": 512, "description": "Default: the task's own."},
    "description": {"type": "string", "maxLength": 2000},
    "foreign": {
        "type": "boolean",
        "description": "Another language defines the class: it, its queue and its arguments are taken as given.",
    },
}
_CHANGE = {"type": "object", "additionalProperties": False, "properties": _TIMES}
_ADD = {**_CHANGE, "required": ["name"], "properties": {"name": _NAME, **_TIMES}}
_WRITTEN = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "before": {"type": ["object", "null"], "description": "What it was, as Ruby reads it."},
        "after": {"type": ["object", "null"], "description": "What it is now."},
    },
}


async def _add_schedule(call: Call) -> Any:
    given = dict(call.body)
    name = given.pop("name")
    if await call.visit.console.schedules.entry(name) is not None:
        raise ApiProblem("exists", f"there is a schedule {name!r} already: change or remove it")
    return await _write_schedule(call, "add", name, given)


async def _change_written(call: Call) -> Any:
    return await _write_schedule(call, "change", await _known_schedule(call), dict(call.body))


async def _remove_schedule(call: Call) -> Any:
    return await _write_schedule(call, "remove", await _known_schedule(call), {})


async def _known_schedule(call: Call) -> str:
    name, schedules = str(call.values["name"]), call.visit.console.schedules
    try:
        await schedules.remove(name, dry_run=True)
    except UnknownTask as error:
        raise ApiProblem("not-found", str(error), problem_of(error).near) from error
    return name


async def _write_schedule(call: Call, verb: str, name: str, given: dict[str, Any]) -> Any:
    if "every_ms" in given:
        given["every"] = given.pop("every_ms")
    if "args" in given:
        if "inputs" in given or not given.get("foreign"):
            raise UsageError("args: only of a foreign class, and not beside inputs")
        given["inputs"] = given.pop("args")
    try:
        done = await changing.write_schedule(call.visit, verb, name, **given)
    except InvalidInputs as error:
        raise of_inputs(error) from error
    return call.parts.redaction.shown({"name": name, "before": done.before, "after": done.after})


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
    ApiEndpoint("POST", "/processes/{id}/quiet", ADMIN, "Let a worker process take no more jobs until it is "
                "restarted; running jobs go on.", _quiet_process, (PROCESS,), answer=_ORDERED, problems=_FOUND),
    ApiEndpoint("POST", "/processes/{id}/stop", ADMIN, "Stop a worker process, as the signal TERM does.",
                _stop_process, (PROCESS,), _STOP, _ORDERED, problems=_FOUND),
    ApiEndpoint("POST", "/failed/{id}/retry", OPERATE, "Put a failed job back into its queue, in one step.",
                _retry, (DIGEST, AT, LIST), _RETRY, _DONE, problems=_REFUSED),
    ApiEndpoint("DELETE", "/failed/{id}", OPERATE, "Remove a failed job.", _remove_failed, (DIGEST, AT, LIST),
                answer=_DONE, problems=_FOUND),
    ApiEndpoint("POST", "/bulk", OPERATE, "Retry or remove all failed jobs that a filter selects, in the "
                "background. What was removed can be put back for a day, if it was no more than 10,000. `retry` "
                "leaves what Ruby has retried already (its `retried_at` is set): `expected_count` is without it.",
                _begin_bulk, body=_BULK, answer=_RUN, status=202),
    ApiEndpoint("GET", "/bulk", READ, "The last 50 bulk runs of the last day, the newest first.", _bulk_runs,
                answer=paged(_RUN)),
    ApiEndpoint("GET", "/bulk/{id}", READ, "How far a bulk run is. `interrupted`: its process is gone; what "
                "was done stays done, and `go_on` does the rest.", _bulk_run, (RUN,), answer=_RUN,
                problems=_FOUND),
    ApiEndpoint("POST", "/bulk/{id}/go_on", OPERATE, "Go on with a bulk run that is `interrupted`, or that "
                "`differs`: with no more jobs than were confirmed. None is retried twice.", _go_on_bulk, (RUN,),
                answer=_RUN, status=202, problems=("not-found", "wrong-state")),
    ApiEndpoint("DELETE", "/bulk/{id}", OPERATE, "End a bulk run where it is.", _cancel_bulk, (RUN,), answer=_RUN,
                problems=("not-found", "wrong-state")),
    ApiEndpoint("POST", "/delayed/{second}/{id}/run", OPERATE, "Run a delayed job now.", _run_delayed,
                (SECOND, DIGEST), answer=_DONE, problems=_REFUSED),
    ApiEndpoint("DELETE", "/delayed/{second}/{id}", OPERATE, "Remove a delayed job.", _remove_delayed,
                (SECOND, DIGEST), answer=_DONE, problems=_REFUSED),
    ApiEndpoint("POST", "/schedules", OPERATE, "Add a schedule, which resqpy's leader and Ruby's dynamic "
                "schedulers run from now. Task, inputs, queue and times are checked as those of tasks.",
                _add_schedule, body=_ADD, answer=_WRITTEN, status=201, problems=("exists",)),
    ApiEndpoint("PATCH", "/schedules/{name}", OPERATE, "Change a schedule, also one of Ruby's: what is given is "
                "replaced, the rest stays. Periodic tasks are changed in their code.", _change_written,
                (SCHEDULE,), _CHANGE, _WRITTEN, problems=_FOUND),
    ApiEndpoint("DELETE", "/schedules/{name}", OPERATE, "Remove a schedule. Jobs that it has enqueued stay.",
                _remove_schedule, (SCHEDULE,), answer=_WRITTEN, problems=_FOUND),
    *(ApiEndpoint("POST", f"/schedules/{{name}}/{verb}", OPERATE, summary, _change_schedule, (SCHEDULE,),
                  answer=_CHANGED, problems=_REFUSED)
      for verb, summary in (("run", "Run a periodic task or schedule now."), ("pause", "Pause it."),
                            ("resume", "Resume it."))),
]  # fmt: skip
