"""`/api/v1/tasks`: tracked tasks are created, found, changed, cancelled and run."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

from resqpy.base.masking import HIDDEN
from resqpy.base.when import Backoff, moment_ms
from resqpy.tracked.creating import CreateOptions
from resqpy.tracked.errors import DuplicateTask
from resqpy.tracked.handle import QueryOptions, SortBy, TrackedTask
from resqpy.tracked.record import TaskStatus, difference
from resqpy.web import changing
from resqpy.web.api.endpoint import (
    CURSOR,
    SIZE,
    Answer,
    ApiEndpoint,
    Call,
    Parameter,
    in_path,
    paged,
)
from resqpy.web.api.idempotency import KEY, once
from resqpy.web.api.problems import ApiProblem, after_a_write
from resqpy.web.api.serving import no_scope
from resqpy.web.api.writes import MS, TIME
from resqpy.web.asking import moment

FIND, CANCEL, CHANGE = (
    ("read", "tasks:read"),
    ("operate", "tasks:cancel"),
    ("operate", "tasks:change"),
)

WORD = {"type": "string", "minLength": 1, "maxLength": 500}
ID = in_path("id", "The id of a task.", maxLength=200)
IF_MATCH = Parameter(
    "If-Match",
    {"type": "string", "maxLength": 40, "pattern": '^"\\d+"$'},
    "The `ETag` of the task as it was read: it is changed only if nobody else has changed it.",
    "header",
)


def task_shown(call: Call, task: TrackedTask) -> dict[str, Any]:
    """A task with secrets hidden; inputs and result are hidden from viewers."""
    shown, redaction = task.to_json(), call.parts.redaction
    sees = call.access.allows("tasks:read")
    for name in ("payload", "result"):
        hidden = not sees and shown[name] is not None
        shown[name] = HIDDEN if hidden else redaction.shown(shown[name])
    shown["error"] = redaction.shown(shown["error"])
    return {**shown, "version": task.record.version}


def _answer(call: Call, task: TrackedTask, status: int = 200) -> Answer:
    return Answer(task_shown(call, task), status, {"ETag": f'"{task.record.version}"'})


# -- find --

_TIMES = ("created", "modified", "completed", "due")
_CONDITIONS = (
    Parameter("type", WORD, "Only tasks of this type."),
    Parameter(
        "status",
        {"type": "array", "items": {"type": "string", "enum": [*TaskStatus]}, "maxItems": 9},
        "Only tasks with one of these statuses; separated by commas.",
    ),
    Parameter(
        "tags",
        {"type": "array", "items": WORD, "maxItems": 20},
        "Only tasks with all of these tags; separated by commas.",
    ),
    Parameter("application", WORD, "Only tasks created by this application (the name of a token)."),
    Parameter("user", WORD, "Only tasks created for this user."),
    Parameter(
        "priority", {"type": "integer", "minimum": -9, "maximum": 9}, "Only tasks of this priority."
    ),
    *(
        Parameter(f"{name}_{end}", TIME, f"Only tasks {words} at this time or later."
                  if end == "from" else f"Only tasks {words} before this time.")
        for name, words in zip(_TIMES, ("created", "last changed", "ended", "due"), strict=True)
        for end in ("from", "until")
    ),
)  # fmt: skip
_ORDER = (
    Parameter(
        "sort",
        {"type": "string", "enum": [*SortBy], "default": "created"},
        "By which time they are sorted (`completed`: only ended ones), or by status.",
    ),
    Parameter(
        "direction",
        {"type": "string", "enum": ["asc", "desc"], "default": "desc"},
        "The newest first, or the oldest.",
    ),
)


def conditions_of(call: Call) -> QueryOptions:
    """The conditions of a request."""
    values = call.values
    found: dict[str, Any] = {
        name: values[name]
        for name in ("type", "status", "tags", "application", "user", "priority", "sort", "direction")
        if values.get(name) not in (None, [])
    }  # fmt: skip
    for name in _TIMES:
        ends = [values.get(f"{name}_{end}") for end in ("from", "until")]
        if any(ends):
            found[name] = tuple(None if each is None else moment(each) for each in ends)
    return cast("QueryOptions", found)


async def _find(call: Call) -> Any:
    page = await call.parts.tracked.query(
        cursor=call.values.get("cursor"), page_size=call.values["size"], **conditions_of(call)
    )
    return {"data": [task_shown(call, each) for each in page.tasks], "next": page.cursor}


async def _get(call: Call) -> Answer:
    return _answer(call, await call.parts.tracked.fetch(call.values["id"]))


# -- create --

_NEW = {
    "type": "object",
    "required": ["type"],
    "additionalProperties": False,
    "properties": {
        "type": {**WORD, "description": "The name of the task that runs it."},
        "payload": {"type": "object", "description": "Its inputs by name."},
        "id": {"type": "string", "minLength": 1, "maxLength": 200, "description": "Default: a new one."},
        "queue": {"type": "string", "minLength": 1, "maxLength": 512},
        "priority": {"type": "integer", "minimum": -9, "maximum": 9},
        "tags": {"type": "array", "items": WORD, "maxItems": 100},
        "enabled": {"type": "boolean"},
        "start": {**TIME, "description": "When it runs first; default: now."},
        "delay_ms": {**MS, "description": "Instead of `start`: how long it waits."},
        "end": {**TIME, "description": "No run starts after that."},
        "interval": {
            "type": ["integer", "string"],
            "minimum": 1,
            "maxLength": 200,
            "description": "It recurs: milliseconds, or a cron expression.",
        },
        "timezone": {**WORD, "description": "Of the cron expression."},
        "retries": {
            "type": ["integer", "null"],
            "minimum": 0,
            "maximum": 10**6,
            "description": "null: unlimited.",
        },
        "backoff_ms": {**MS, "description": "How long to wait before each retry."},
        "linked": {"type": "boolean", "description": "Each attempt is a task of its own."},
        "at_most_once": {"type": "boolean"},
        "retain_ms": {
            "type": ["integer", "null"],
            "minimum": 0,
            "maximum": 10**13,
            "description": "How long its record is kept after its end; null: forever.",
        },
        "lock_duration_ms": {**MS, "minimum": 100},
        "longest_execution_ms": {**MS, "description": "0: no limit."},
        "user": {**WORD, "description": "For whom it is created."},
    },
}  # fmt: skip
# What the options of a new task are called here, where they have a unit.
_UNITS = {
    "delay_ms": "delay",
    "retain_ms": "retain_for",
    "lock_duration_ms": "lock_duration",
    "longest_execution_ms": "longest_execution",
}


def options_of(call: Call) -> CreateOptions:
    """The options of a new task."""
    creator = "application" if call.access.by == "token" else "user"
    options: dict[str, Any] = {creator: call.access.who}
    for name, value in call.body.items():
        if name in ("start", "end"):
            options[name] = moment_ms(moment(value) or 0, name)
        elif name == "backoff_ms":
            options["backoff"] = Backoff.fixed(value)
        elif name not in ("type", "payload"):
            options[_UNITS.get(name, name)] = value
    return cast("CreateOptions", options)


async def create(
    call: Call, kind: str, payload: Any, options: CreateOptions, name: str
) -> TrackedTask:
    """Create a task.

    Args:
        name: of the request, if it may be repeated: its task has an id made of that, so there is only one.
    """
    if not call.access.allows(scope := f"tasks:create:{kind}"):
        raise no_scope(call.endpoint.scopes, scope)
    tracked = call.parts.tracked
    if name and "id" not in options:
        options = {**options, "id": f"r-{name[:40]}"}
    try:
        return await tracked.create(kind, payload, **options)
    except DuplicateTask:
        if not name or options["id"] != f"r-{name[:40]}":
            raise
        return await tracked.fetch(options["id"])  # made by a request whose answer was lost


async def _create(call: Call) -> Answer:
    kind, payload, options = call.body["type"], call.body.get("payload", {}), options_of(call)

    async def do(name: str) -> Answer:
        return _answer(call, await create(call, kind, payload, options, name), 201)

    return await once(call, do)


# -- change --

_PATCH = {
    "type": "object",
    "required": ["payload"],
    "additionalProperties": False,
    "properties": {
        "payload": {
            "type": "object",
            "description": "Changes of the inputs, as a JSON merge patch (RFC 7396): null removes a name.",
        }
    },
}


async def _patch(call: Call) -> Answer:
    tracked, task_id = call.parts.tracked, call.values["id"]
    task = await tracked.fetch(task_id)
    given = call.values.get(IF_MATCH.name)
    version = None if given is None else int(given.strip('"'))
    patch = difference(task.payload, merge_patched(task.payload, call.body["payload"]))
    if patch or version is not None:
        act = partial(tracked.save_patch, task_id, patch, version=version)
        await changing.audited(call.visit, "change", f"task {task_id}", act, always=True)
    with after_a_write("the task was changed", written=bool(patch)):
        return _answer(call, await tracked.fetch(task_id))


def merge_patched(target: Any, patch: Any) -> Any:
    """A value with a JSON merge patch (RFC 7396) applied."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patched(merged.get(name), value)
    return merged


async def _change(call: Call) -> Answer:
    verb = call.endpoint.path.rpartition("/")[2].replace("run", "retry")
    record = await changing.change_task(call.visit, verb, call.values["id"])
    return _answer(call, TrackedTask(record, call.parts.tracked))


async def _remove(call: Call) -> Any:
    if not await changing.change_task(call.visit, "remove", call.values["id"]):
        raise ApiProblem("not-found", f"there is no task {call.values['id']!r}")
    return {"removed": 1}


_TASK = {
    "type": "object",
    "required": ["id", "type", "status"],
    "properties": {
        "id": {"type": "string"},
        "type": {"type": "string"},
        "status": {"type": "string", "enum": [*TaskStatus]},
    },
}
_KNOWN = ("not-found", "wrong-state")

TASKS = [
    ApiEndpoint("GET", "/tasks", FIND, "Find tracked tasks. All conditions must hold.", _find,
                (*_CONDITIONS, *_ORDER, SIZE, CURSOR), answer=paged(_TASK),
                problems=("wrong-cursor", "wrong-value")),
    ApiEndpoint("POST", "/tasks", ("tasks:create:{type}",), "Create a tracked task, and the job that runs it.",
                _create, (KEY,), _NEW, _TASK, 201,
                ("refused", "exists", "in-progress", "other-request", "under-replicated")),
    ApiEndpoint("GET", "/tasks/{id}", FIND, "A tracked task; its `ETag` is its version.", _get, (ID,),
                answer=_TASK, problems=("not-found", "wrong-value")),
    ApiEndpoint("PATCH", "/tasks/{id}", CHANGE, "Change the inputs of a tracked task.", _patch, (ID, IF_MATCH),
                _PATCH, _TASK, problems=("not-found", "changed", "under-replicated")),
    ApiEndpoint("DELETE", "/tasks/{id}", CHANGE, "Remove a tracked task, whatever its state.", _remove, (ID,),
                problems=("not-found",)),
    *(ApiEndpoint("POST", f"/tasks/{{id}}/{verb}", scopes, summary, _change, (ID,), answer=_TASK, problems=_KNOWN)
      for verb, scopes, summary in (
          ("cancel", CANCEL, "Cancel a task that has not started."),
          ("run", CHANGE, "Run a task now: one that waits, or one that has failed."),
          ("enable", CHANGE, "Let a disabled task run again."),
          ("disable", CHANGE, "Disable a task; a current run is notified."))),
]  # fmt: skip
