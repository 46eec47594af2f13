"""`/api/v1/limits`: limits of queues and tasks are shown, set, removed and shut at run time."""

from __future__ import annotations

from functools import partial
from typing import Any

from resqpy.base.errors import UsageError
from resqpy.diagnosis import limiting, texts
from resqpy.diagnosis.limiting import LimitView, Of
from resqpy.web import changing
from resqpy.web.api.endpoint import (
    CURSOR,
    SIZE,
    ApiEndpoint,
    Call,
    in_path,
    paged,
    read_place,
    write_place,
)
from resqpy.web.api.problems import ApiProblem
from resqpy.web.api.reads import READ, may_see_arguments
from resqpy.web.api.schema import RequestFault
from resqpy.web.api.writes import MS, OPERATE

QUEUE = in_path("queue", "The name of a queue.", maxLength=600)
KEY = in_path(
    "key",
    "A limit of tasks: a task, `TASK:INPUT` or a name that tasks share; or one of its keys, `NAME=VALUE`.",
    maxLength=2000,
)
_RATE = "a rate is a text, `COUNT/TIME` or `COUNT/TIME/BURST`"
_MOST = {"type": ["integer", "string", "null"]}
_LIMIT = {
    "type": "object",
    "properties": {
        "queue": {"type": "string", "description": "Of a limit of a queue: which one."},
        "key": {"type": "string", "description": "Of a limit of tasks: its name, or `NAME=VALUE`."},
        "limit": {
            **_MOST,
            "description": f"How many run at once; {_RATE} with TIME in milliseconds; null: it was removed.",
        },
        "running": {
            "type": "array",
            "items": {"type": "string"},
            "description": "The ids of the workers that run a job.",
        },
        "foreign": {
            "type": "object",
            "description": "How many of them are of other languages, by language.",
        },
        "waiting": {"type": "integer"},
        "parked": {
            "type": "object",
            "description": "Of a limit of tasks: how many wait, by queue.",
        },
        "since": {
            "type": ["string", "null"],
            "description": "Since when the longest of them waits.",
        },
        "tasks": {"type": "array", "items": {"type": "string"}},
        "by_hand": {"type": "boolean", "description": "It was set at run time."},
        "counts_foreign": {
            "type": "boolean",
            "description": 'What workers of other languages run is counted (`foreign="count"`).',
        },
        "shut_until": {"type": ["string", "null"], "description": "None begins before."},
    },
}


async def _limits(call: Call) -> Any:
    start = read_place("limits", call.values["cursor"], int)[0] if "cursor" in call.values else 0
    views, end = await limiting.limit_views(call.parts.resque), start + call.values["size"]
    data = [_shown(call, each) for each in views[start:end]]
    return {"data": data, "next": write_place("limits", end) if len(views) > end else None}


def _shown(call: Call, view: LimitView) -> dict[str, Any]:
    shown = view.as_json()
    if "key" in shown:  # the value of an input follows
        name, equals, _ = view.name.partition("=")
        hidden = equals and not may_see_arguments(call)
        shown["key"] = f"{name}=…" if hidden else call.parts.redaction.text(view.name)
    return shown


# -- changes --

_SET = {
    "type": "object",
    "required": ["limit"],
    "additionalProperties": False,
    "properties": {
        "limit": {
            "type": ["integer", "string"],
            "minimum": 0,
            "maximum": 10_000,
            "maxLength": 100,
            "description": f"How many run at once, 0: none; of tasks {_RATE}, for example `10/1m`.",
        },
        "new": {
            "type": "boolean",
            "description": "The queue or task may be one that is to come.",
        },
    },
}
_SHUT = {
    "type": "object",
    "required": ["duration_ms"],
    "additionalProperties": False,
    "properties": {"duration_ms": {**MS, "minimum": 1, "description": "For how long."}},
}
_PUT_BACK = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "queue": {
            "type": "string",
            "minLength": 1,
            "maxLength": 600,
            "description": "Default: all queues.",
        }
    },
}
_CHANGED = {
    "type": "object",
    "properties": {
        "limit": {**_MOST, "description": "What holds now; null: none."},
        "before": {**_MOST, "description": "What held before; null: none."},
        "warning": {
            "type": ["string", "null"],
            "description": "Which workers of other languages don't know of it.",
        },
    },
}
_UNTIL = {
    "type": "object",
    "properties": {
        "until": {
            "type": ["string", "null"],
            "description": "None begins before: later, if somebody has said so.",
        }
    },
}


async def _set(call: Call, of: Of) -> Any:
    try:
        most = limiting.read_most(str(call.body["limit"]))
    except UsageError as error:
        wrong = [RequestFault("/limit", str(error))]
        raise ApiProblem("wrong-value", str(error), errors=wrong) from error
    new = call.body.get("new", False)
    return _told(await changing.set_limit(call.visit, _name(call), most, of, new=new))


async def _remove(call: Call, of: Of) -> Any:
    return _told(await changing.remove_limit(call.visit, _name(call), of))


def _name(call: Call) -> str:
    name: str = call.values["queue"] if "queue" in call.values else call.values["key"]
    return name


def _told(made: limiting.LimitChange) -> Any:
    return {**made.as_json(), "warning": made.unbound.removeprefix("; ") or None}


async def _shut(call: Call) -> Any:
    until = await changing.shut_limit(call.visit, _name(call), call.body["duration_ms"])
    return {"until": texts.iso(until)}


async def _open(call: Call) -> Any:
    await changing.open_limit(call.visit, _name(call))
    return {"until": None}


async def _put_back(call: Call) -> Any:
    return {"put_back": await changing.put_back_parked(call.visit, call.body.get("queue"))}


_FOUND = ("not-found",)
LIMITS = [
    ApiEndpoint("GET", "/limits", READ, "The limits, those of queues first, by name; of tasks also each key "
                "(`NAME=VALUE`) under which jobs run or wait, whose values viewers don't see. Keys come and go "
                "between pages.", _limits, (SIZE, CURSOR), answer=paged(_LIMIT), problems=("wrong-cursor",)),
    ApiEndpoint("PUT", "/limits/queues/{queue}", OPERATE, "Let at most so many jobs of a queue and its sub-queues "
                "run at once. Jobs that run go on. It holds until it is removed, whatever the config says.",
                partial(_set, of="queue"), (QUEUE,), _SET, _CHANGED, problems=_FOUND),
    ApiEndpoint("DELETE", "/limits/queues/{queue}", OPERATE, "Remove the limit of a queue that was set: then the "
                "config decides.", partial(_remove, of="queue"), (QUEUE,), answer=_CHANGED, problems=_FOUND),
    ApiEndpoint("PUT", "/limits/keys/{key}", OPERATE, "Let at most so many jobs of tasks run at once, or begin "
                "in a time; also of one key, or of a task whose code has no limit. Jobs that run go on. It holds "
                "until it is removed, whatever the code says.",
                partial(_set, of="task"), (KEY,), _SET, _CHANGED, problems=_FOUND),
    ApiEndpoint("DELETE", "/limits/keys/{key}", OPERATE, "Remove what was set for a limit of tasks, or one of its "
                "keys: then the code decides.",
                partial(_remove, of="task"), (KEY,), answer=_CHANGED, problems=_FOUND),
    ApiEndpoint("POST", "/limits/keys/{key}/shut", OPERATE, "Let no job under a limit of tasks, or one of its "
                "keys, begin for a time, such as the `Retry-After` of a 429.",
                _shut, (KEY,), _SHUT, _UNTIL, problems=_FOUND),
    ApiEndpoint("POST", "/limits/keys/{key}/open", OPERATE, "End that before its time.", _open, (KEY,),
                answer=_UNTIL, problems=_FOUND),
    ApiEndpoint("POST", "/limits/put-back", OPERATE, "Put jobs that wait for limits of tasks back to the heads of "
                "their queues, where workers of other languages find them. Workers that know the limit take them "
                "out again.", _put_back, body=_PUT_BACK),
]  # fmt: skip
