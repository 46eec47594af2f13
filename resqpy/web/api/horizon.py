"""`/tasks/v1`: tracked tasks as Extra Horizon's task service has them, for its SDK."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast
from urllib.parse import unquote

from resqpy.base.when import moment_ms
from resqpy.store import workers
from resqpy.store.connection.client import Store
from resqpy.tracked import records
from resqpy.tracked.creating import CreateOptions
from resqpy.tracked.finding import Row, next_rows
from resqpy.tracked.handle import Position, Query, TrackedTask, make_query
from resqpy.tracked.record import error_to_dict
from resqpy.web.api.endpoint import Answer, ApiEndpoint, Call, in_path
from resqpy.web.api.problems import ApiProblem
from resqpy.web.api.rql import MAX_OFFSET, STATUSES, TaskPlan, parse, plan
from resqpy.web.api.schema import nearest
from resqpy.web.api.tasks import ID, WORD, create
from resqpy.web.api.writes import TIME
from resqpy.web.asking import moment
from resqpy.web.changing import change_task
from resqpy.web.tokens import by_token

PREFIX = "/tasks/v1"
_STATUS = {status: name for name, group in STATUSES.items() for status in group}
_ROWS = 1000  # ids of one call of the script
_CALLS = 100  # of it, for one query
_COUNTED = MAX_OFFSET  # so many are counted, where no index knows their number

# By which numbers the SDK knows errors, and their names.
_CODES = {
    "internal": (1, "SERVER_EXCEPTION"),
    "redis-away": (4, "SERVICE_UNREACHABLE_EXCEPTION"),
    "redis-refused": (4, "SERVICE_UNREACHABLE_EXCEPTION"),
    "no-scope": (10, "NO_PERMISSION_EXCEPTION"),
    "not-found": (16, "RESOURCE_UNKNOWN_EXCEPTION"),
    "exists": (17, "RESOURCE_ALREADY_EXISTS_EXCEPTION"),
    "wrong-query": (19, "INVALID_RQL_EXCEPTION"),
    "wrong-request": (22, "BODY_FORMAT_EXCEPTION"),
    "wrong-value": (26, "ILLEGAL_ARGUMENT_EXCEPTION"),
    "wrong-state": (27, "ILLEGAL_STATE_EXCEPTION"),
    "no-token": (104, "USER_NOT_AUTHENTICATED_EXCEPTION"),
    "wrong-token": (117, "ACCESS_TOKEN_UNKNOWN_EXCEPTION"),
}


def problem_body(problem: ApiProblem, instance: str) -> Mapping[str, Any]:
    """Problem details, and beside them what the SDK reads."""
    code, name = _CODES.get(problem.kind, (0, problem.kind.upper().replace("-", "_")))
    return {**problem.as_json(instance), "code": code, "name": name, "message": problem.detail}


def _task(call: Call, task: TrackedTask) -> dict[str, Any]:
    redaction, record = call.parts.redaction, task.record
    shown = {
        "id": task.id,
        "functionName": task.type,
        "status": _STATUS[task.status],
        "statusChangedTimestamp": _time(task.status_changed_time),
        "data": redaction.shown(task.payload),
        "tags": list(task.tags),
        "startTimestamp": _time(task.start_time or task.create_time),
        "priority": task.priority,
        "createdByApplicationId": task.created_by_application,
        "createdByUserId": task.created_by_user,
        "creationTimestamp": _time(task.create_time),
        "updateTimestamp": _time(task.last_updated_time),
        "retryForTaskIds": list(task.retry_for_task_ids) or None,
        "retriedByTaskId": task.retried_by_task_id,
        "error": None if record.error is None else _error(call, task),
        "result": None if record.result is None else redaction.shown(task.result),
    }
    return {name: value for name, value in shown.items() if value is not None}


def _error(call: Call, task: TrackedTask) -> dict[str, Any]:
    assert task.error is not None
    told = error_to_dict(task.error)
    message = call.parts.redaction.text(told["message"])
    return {"type": told["type"], "name": told["name"], "message": message}


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"


# -- find --


async def _find(call: Call) -> Any:
    text = call.visit.request.scope["query_string"].decode("ascii", "replace")
    asked = plan(parse(unquote(text, errors="replace")))
    if asked.ids is not None:
        found, total = await _by_ids(call, asked)
    else:
        queries = [make_query(each) for each in asked.alternatives()]
        rows, total = await _rows(call, asked, queries)
        found = await _tasks_of(call, queries, [row.task_id for row in rows])
    shown = [_selected(_task(call, each), asked.select) for each in found]
    page = {"offset": asked.offset, "limit": asked.limit}
    if asked.count:
        page = {"total": total, **page}
    return {"page": page, "data": shown}


def _selected(task: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: task[name] for name in ("id", *names) if name in task} if names else task


async def _by_ids(call: Call, asked: TaskPlan) -> tuple[list[TrackedTask], int]:
    ids = list(dict.fromkeys(asked.ids or []))
    found = await _tasks_of(call, [make_query(each) for each in asked.alternatives()], ids)
    return found[asked.offset : asked.offset + asked.limit], len(found)


async def _tasks_of(call: Call, queries: Sequence[Query], ids: Sequence[str]) -> list[TrackedTask]:
    tracked = call.parts.tracked
    now_ms = await tracked.store.time_us() // 1000
    known = await records.get_many(tracked.store, ids, shown=True)
    return [
        TrackedTask(record, tracked)
        for record in known
        if record is not None and any(query.matches(record, now_ms) for query in queries)
    ]


async def _rows(call: Call, asked: TaskPlan, queries: Sequence[Query]) -> tuple[list[Row], int]:
    """The rows of the page, and how many there are in all, as far as they are counted."""
    store, until = call.parts.tracked.store, asked.offset + asked.limit
    whole = len(queries) == 1 and bool(queries[0].whole_sets(store.keys))
    most = until if whole or not asked.count else max(until, _COUNTED)
    found: dict[str, Row] = {}
    for query in queries:
        found |= {row.task_id: row for row in await _rows_of(store, query, most)}
    ordered = sorted(
        found.values(), key=lambda row: (row.score, row.task_id), reverse=not asked.ascending
    )
    total = len(ordered)
    if whole and asked.count:
        sizes = [("ZCARD", key) for key in queries[0].whole_sets(store.keys)]
        total = sum(await store.look(sizes))
    return ordered[asked.offset : until], total


async def _rows_of(store: Store, query: Query, most: int) -> list[Row]:
    """The first rows of a query: ids only."""
    found, place = list[Row](), None
    for _ in range(_CALLS):
        wanted = min(_ROWS, most - len(found))
        sections = query.sections(store.keys, place)
        rows, given_up = await next_rows(store, sections, wanted, ascending=query.ascending)
        for row in rows:
            if query.beyond(row.score):
                return found
            found.append(row)
        last = given_up or (rows[-1] if len(rows) == wanted else None)
        if last is None or len(found) >= most or query.beyond(last.score):
            break
        place = Position(last.score, last.task_id)
    return found


# -- create, cancel --

_NEW = {
    "type": "object",
    "required": ["functionName"],
    "properties": {
        "functionName": {**WORD, "description": "The name of the task that runs it."},
        "data": {"type": ["object", "null"]},
        "startTimestamp": {**TIME, "type": ["string", "null"]},
        "priority": {"type": ["integer", "null"]},
        "tags": {"type": ["array", "null"], "items": WORD, "maxItems": 100},
    },
}


async def _create(call: Call) -> Answer:
    given = {name: value for name, value in call.body.items() if value is not None}
    options: dict[str, Any] = {"application": call.access.who}
    if "startTimestamp" in given:
        options["start"] = moment_ms(moment(given["startTimestamp"]) or 0, "startTimestamp")
    options |= {name: given[name] for name in ("priority", "tags") if name in given}
    kind, data = given["functionName"], given.get("data", {})
    task = await create(call, kind, data, cast("CreateOptions", options), "")
    return Answer(_task(call, task), 200)


async def _cancel(call: Call) -> Any:
    await change_task(call.visit, "cancel", call.values["id"])
    return {"affectedRecords": 1}


# -- functions --


async def _known_functions(call: Call) -> dict[str, str]:
    """The tasks of the project, or else those that workers have announced, with what they do."""
    registry = call.parts.registry
    if registry is not None and registry.tasks:
        return {task.name: task.description for task in registry.tasks.values()}
    known = await workers.known_tasks(call.parts.resque.store)
    return dict.fromkeys(sorted(known), "")


async def _functions(call: Call) -> Any:
    known = await _known_functions(call)
    shown = [{"name": name, "description": words} for name, words in sorted(known.items())]
    page = {"total": len(shown), "offset": 0, "limit": max(len(shown), 1)}
    return {"page": page, "data": shown}


async def _function(call: Call) -> Any:
    known, name = await _known_functions(call), call.values["name"]
    if name not in known:
        near = nearest(name, list(known))
        raise ApiProblem("not-found", f"there is no function {name!r}", near)
    return {"name": name, "description": known[name], "enabled": True}


_TASK = {"type": "object", "required": ["id", "functionName", "status"]}
_PAGE = {"type": "object", "required": ["page", "data"]}

TABLE = [
    ApiEndpoint("GET", "/", ("tasks:read",),
                "Find tasks by RQL, such as `?eq(status,new)&sort(-creationTimestamp)&limit(10)`.", _find,
                answer=_PAGE, problems=("wrong-query",), raw_query=True),
    ApiEndpoint("POST", "/", ("tasks:create:{functionName}",), "Create a task.", _create, (), _NEW, _TASK,
                problems=("refused", "under-replicated")),
    ApiEndpoint("POST", "/{id}/cancel", ("tasks:cancel",), "Cancel a task with the status `new`.", _cancel, (ID,),
                problems=("not-found", "wrong-state")),
    ApiEndpoint("GET", "/functions", ("tasks:read",), "The names of the tasks that workers run.", _functions,
                answer=_PAGE, raw_query=True),
    ApiEndpoint("GET", "/functions/{name}", ("tasks:read",), "One of them.", _function,
                (in_path("name", "Its name."),), problems=("not-found",)),
]  # fmt: skip

# -- signing in --

SIGN_IN_PREFIX = "/auth/v2"
_GRANT = {
    "type": "object",
    "required": ["grant_type"],
    "properties": {
        "grant_type": {"type": "string", "enum": ["refresh_token"]},
        "refresh_token": {"type": "string", "maxLength": 200},
    },
}


async def _sign_in(call: Call) -> Any:
    """The SDK wants a token for a token: it gets the same."""
    secret = call.body.get("refresh_token", "")
    access = await by_token(call.parts.resque.store, secret, note=False)
    return {
        "access_token": secret,
        "token_type": "bearer",
        "expires_in": 3600,
        "refresh_token": secret,
        "user_id": access.who,
        "application_id": access.who,
    }


SIGN_IN = [
    ApiEndpoint("POST", "/oauth2/tokens", (), "Trade an access token, as `refresh_token`, for itself: as the SDK "
                "signs in.", _sign_in, body=_GRANT, problems=("wrong-token",)),
]  # fmt: skip
