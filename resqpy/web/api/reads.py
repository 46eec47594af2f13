"""`GET` of `/api/v1`: what there is. Each page costs as much as it shows, however long the list is."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from resqpy.base import codec
from resqpy.base.masking import HIDDEN, Redaction
from resqpy.base.model import FailedJob, Job
from resqpy.diagnosis import texts
from resqpy.diagnosis.browsing import (
    WITHIN,
    delayed_page,
    failed_groups,
    failed_page,
    find_failed,
    find_item,
    find_near,
    is_queue,
    queue_page,
)
from resqpy.diagnosis.history import PERIODS
from resqpy.diagnosis.queues import ages
from resqpy.diagnosis.workers import (
    all_workers,
    failed_json,
    group_json,
    job_json,
    pause_json,
    schedule_json,
)
from resqpy.engine.inspect.failed_jobs import Wanted
from resqpy.engine.inspect.schedule_view import ScheduleView
from resqpy.framework.tasks.arguments import shown_args, shown_payload
from resqpy.store import overview, queues
from resqpy.store.leader import standing
from resqpy.store.sweep import Item
from resqpy.web.api.endpoint import (
    CURSOR,
    SIZE,
    ApiEndpoint,
    Call,
    Parameter,
    in_path,
    paged,
    read_place,
    write_place,
)
from resqpy.web.api.problems import ApiProblem
from resqpy.web.api.schema import nearest
from resqpy.web.audit import entries

READ = ("read",)
_PATIENCE_S = 60.0  # for groups that others may have asked for too

QUEUE = in_path("queue", "The name of a queue.")
DIGEST = in_path("id", "The `id` of the entry.", pattern="^[0-9a-f]{40}$")


_FOR_VIEWERS = ("class", "queue", "problem", "bytes")  # of a job


def may_see_arguments(call: Call) -> bool:
    """Whether arguments are shown: a viewer must not see them."""
    return call.access.allows("operate")


def _job(call: Call, job: Job) -> dict[str, Any]:
    shown = job_json(job, call.parts.redaction)
    if not may_see_arguments(call):  # nor what else stands in it, such as its context
        shown = {name: shown[name] for name in (*_FOR_VIEWERS, "args") if name in shown}
    if "args" in shown:
        shown["args"] = _args(call, job)
    return {"id": codec.digest(job.raw), **shown}


def _failed(call: Call, entry: FailedJob, *, backtrace: bool = False) -> dict[str, Any]:
    redaction = call.parts.redaction
    shown = failed_json(entry, redaction, backtrace=backtrace)
    shown |= {name: _text(redaction, shown[name]) for name in ("error", "exception")}
    if backtrace:
        shown["backtrace"] = [redaction.text(line) for line in entry.backtrace]
    shown["args"] = _args(call, entry)
    return shown


def _args(call: Call, job: Job | FailedJob) -> Any:
    if not may_see_arguments(call):
        return HIDDEN
    return shown_args(call.parts.tasks.get(job.class_name or ""), job.args, call.parts.redaction)


def _text(redaction: Redaction, text: str | None) -> str | None:
    return None if text is None else redaction.text(text)


# -- the installation --


async def _health(call: Call) -> Any:
    store = call.parts.resque.store
    (now, pause), leader = await asyncio.gather(
        store.look([("TIME",), ("GET", store.keys.pause)]), _leader(call)
    )
    return {
        "redis_time": texts.iso(int(now[0]) * 1000),
        "paused": overview.says_paused(pause),
        "has_leader": leader is not None,
    }


async def _leader(call: Call) -> str | None:
    prefix = call.visit.console.options.leader.ruby_lock_prefix
    locks = await standing(call.parts.resque.store, prefix)
    return next((each.holder for each in locks if each.holder), None)


async def _overview(call: Call) -> Any:
    everything = call.visit.console.everything
    found = await everything.numbers()
    return {
        "as_of": texts.iso(everything.queues.as_of.at_ms),
        "queues": len(found.queues),
        "waiting": sum(found.queues.values()),
        "delayed_times": found.delayed,
        "failed": sum(found.failed.values()),
        "workers": found.workers,
        "processed": found.stats["processed"],
        "failures": found.stats["failed"],
        "leader": await _leader(call),
        "paused": found.paused,
        "paused_queues": len(found.paused_queues),
    }


# -- queues --

_QUEUE_SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "waiting": {"type": "integer"},
        "limit": {"type": ["integer", "null"], "description": "How many may run at once."},
        "running": {
            "type": ["integer", "null"],
            "description": "How many run, where there is a limit.",
        },
        "pause": {"type": ["object", "null"]},
        "age_ms": {
            "type": ["integer", "null"],
            "description": "How long the first job has waited; as what follows null while no scheduler of resqpy "
            "leads.",
        },
        "age_accuracy": {
            "type": ["string", "null"],
            "description": "exact (to age_within_ms), at_most, at_least or about.",
        },
        "age_within_ms": {"type": ["integer", "null"]},
        "arrivals_s": {"type": ["number", "null"], "description": "Jobs that come in a second."},
        "departures_s": {"type": ["number", "null"], "description": "Jobs that go in a second."},
        "rates_complete": {
            "type": ["boolean", "null"],
            "description": "Whether none of them came and went unseen.",
        },
        "drain_s": {
            "type": ["number", "null"],
            "description": "Seconds until it is empty if it goes on like this; null where it gets no shorter.",
        },
    },
}


async def _queues(call: Call) -> Any:
    names, size = await _queue_names(call), call.values["size"]
    wanted = call.values.get("name", "")
    names = [each for each in names if wanted in each]
    after = ""
    if "cursor" in call.values:
        [after] = read_place(f"queues {wanted}", call.values["cursor"], str)
    rest = [each for each in names if each > after]
    shown = await _queue_values(call, rest[:size])
    more = write_place(f"queues {wanted}", rest[size - 1]) if len(rest) > size else None
    return {"data": shown, "next": more}


async def _queue_names(call: Call) -> list[str]:
    """All, in order: read once for all who ask at the same time, and a little later."""
    return [*(await call.visit.console.everything.numbers()).queues]


async def _queue_values(call: Call, names: list[str]) -> list[dict[str, Any]]:
    resque = call.parts.resque
    lengths, pauses, limits, seen = await asyncio.gather(
        queues.lengths(resque.store, names),
        overview.queue_pauses(resque.store, names),
        resque.running_limits(),
        ages(resque, names),
    )
    return [
        {
            "name": name,
            "waiting": length,
            "limit": limits[name].most if name in limits else None,
            "running": len(limits[name].running) if name in limits else None,
            "pause": pause_json(pauses[name]) if name in pauses else None,
            **seen.as_json(name),
        }
        for name, length in zip(names, lengths, strict=True)
    ]


async def known_queue(call: Call) -> str:
    """The queue in the path.

    Raises:
        ApiProblem: there is none.
    """
    name: str = call.values["queue"]
    if not await is_queue(call.parts.resque.store, name):
        near = nearest(name, await _queue_names(call))
        hint = f"; did you mean {near!r}?" if near else ""
        raise ApiProblem("not-found", f"there is no queue {name[:200]!r}{hint}", near)
    return name


async def _queue(call: Call) -> Any:
    return (await _queue_values(call, [await known_queue(call)]))[0]


async def _queue_jobs(call: Call) -> Any:
    resque, name, size = call.parts.resque, await known_queue(call), call.values["size"]
    place, start = f"queue {name}", 0
    if "cursor" in call.values:
        at, digest = read_place(place, call.values["cursor"], int, str)
        last = await find_near(resque.store, resque.store.keys.queue(name), digest, at)
        if last is None:
            raise _moved()
        start = last.index + 1
    found = await queue_page(resque, name, start, size)
    data = [{"at": at, **_job(call, job)} for at, job in found.rows]
    more = start + size < found.total and data
    return {
        "data": data,
        "next": write_place(place, data[-1]["at"], data[-1]["id"]) if more else None,
    }


def _moved() -> ApiProblem:
    words = "the last item of that page is gone, and what is around it; start without a cursor"
    return ApiProblem("list-changed", words)


# -- failed jobs --

LIST = Parameter(
    "list",
    {"type": "string", "minLength": 1, "maxLength": 600, "default": "failed"},
    "Which failed list: another than `failed` only with Ruby's backend of several.",
)
AT = Parameter(
    "at",
    {"type": "integer", "minimum": 0, "maximum": 10**9},
    "Where it was seen (`at` of a list), so that it is found at once.",
)


def _filter(name: str, summary: str) -> Parameter:
    return Parameter(name, {"type": "string", "minLength": 1, "maxLength": 600}, summary)


_FILTERS = (
    _filter("class", "Only jobs of this task."),
    _filter("exception", "Only with this exception."),
    _filter("queue", "Only of this queue."),
)


def _known_list(call: Call, lists: Sequence[str]) -> str:
    """The failed list that is asked for.

    Raises:
        ApiProblem: there is none.
    """
    name: str = call.values["list"]
    if name not in lists:
        raise ApiProblem(
            "not-found", f"there is no failed list {name!r}", nearest(name, list(lists))
        )
    return name


def _wanted(call: Call) -> tuple[Wanted, str]:
    given = [call.values.get(each.name) for each in _FILTERS]
    return Wanted.of(*given), repr(given)


async def _failed_page(call: Call) -> Any:
    """The newest first. With filters, a page may be short, and still have a next one."""
    name, (wanted, said), cursor = call.values["list"], _wanted(call), None
    whose = f"failed {name} {said}"
    if "cursor" in call.values:
        cursor = "{}.{}".format(*read_place(whose, call.values["cursor"], int, str))
    found = await failed_page(call.parts.resque, name, wanted, cursor, call.values["size"])
    _known_list(call, [*found.lists])
    if found.moved:
        raise _moved()
    data = [{"at": at, **_failed(call, entry)} for at, entry in found.rows]
    at, _, digest = (found.older or "").partition(".")
    more = write_place(whose, int(at), digest) if found.older else None
    return {"data": data, "next": more, "looked_at": found.looked_at}


async def sought_failed(call: Call) -> FailedJob:
    """The failed entry in the path.

    Raises:
        ApiProblem: it is not there.
    """
    resque, at = call.parts.resque, call.values.get("at")
    name = _known_list(call, [*await resque.failed_lists()])
    found = await find_failed(resque, name, call.values["id"], at)
    if found is None:
        words = f"no failed job among the newest {WITHIN:,} of {name!r} has that id"
        raise ApiProblem("not-found", f"{words}: it was removed or retried")
    return found[1]


async def sought_item(call: Call, key: str, what: str) -> Item:
    """The item of a list whose id is in the path.

    Raises:
        ApiProblem: it is not there.
    """
    store, at = call.parts.resque.store, call.values.get("at")
    item = await find_item(store, key, call.values["id"], at)
    if item is None:
        raise ApiProblem("not-found", f"no {what} has that id, among the first {WITHIN:,}")
    return item


async def _failed_entry(call: Call) -> Any:
    return _failed(call, await sought_failed(call), backtrace=True)


async def _failed_groups(call: Call) -> Any:
    wanted, _ = _wanted(call)
    groups = call.visit.console.groups
    found = await groups.get(_PATIENCE_S) if wanted.everything else None
    if found is None:
        found = await failed_groups(call.parts.resque, wanted)
    shown = [group_json(each) for each in found.groups]
    for each in shown:
        each["example_error"] = _text(call.parts.redaction, each["example_error"])
    return {"data": shown, "next": None, "looked_at": found.looked_at, "total": found.total}


# -- delayed jobs, schedules, workers --

SECOND = in_path(
    "second",
    "The second at which it is due, since 1970.",
    type="integer",
    minimum=0,
    maximum=10**11,
)


async def _delayed(call: Call) -> Any:
    """The times at which jobs are due, the earliest first, and the first jobs of each."""
    since = call.values.get("from", 0)
    if "cursor" in call.values:
        since = read_place("delayed", call.values["cursor"], int)[0] + 1
    found = await delayed_page(call.parts.resque, since, call.values["size"])
    data = [
        {
            "second": each.second,
            "at": texts.iso(each.second * 1000),
            "count": each.total,
            "jobs": [_job(call, job) for job in each.jobs],
        }
        for each in found.times
    ]
    more = None if found.later is None else write_place("delayed", found.later - 1)
    return {"data": data, "next": more}


async def _schedules(call: Call) -> Any:
    timetable = await ScheduleView(call.parts.resque, call.visit.console.options.leader).load()
    return {"data": [schedule_json(each) for each in timetable.entries], "next": None}


async def _workers(call: Call) -> Any:
    everyone = await call.visit.console.everything.workers.current()
    found = sorted(each.worker_id for each in everyone.found)
    after = ""
    if "cursor" in call.values:
        [after] = read_place("workers", call.values["cursor"], str)
    rest, size = found[bisect_right(found, after) :], call.values["size"]
    page = await all_workers(call.parts.resque, rest[:size])
    known, redaction = call.parts.tasks, call.parts.redaction
    shown = [each.as_json(lambda job: shown_payload(known, job, redaction)) for each in page]
    if not may_see_arguments(call):
        shown = [{**each, "payload": HIDDEN if each["payload"] else None} for each in shown]
    more = write_place("workers", rest[size - 1]) if len(rest) > size else None
    return {"data": shown, "next": more}


async def _processes(call: Call) -> Any:
    found = await call.visit.console.everything.processes.current()
    after, size = "", call.values["size"]
    if "cursor" in call.values:
        [after] = read_place("processes", call.values["cursor"], str)
    rest = sorted((each for each in found if each.id > after), key=lambda each: each.id)
    more = write_place("processes", rest[size - 1].id) if len(rest) > size else None
    return {"data": [each.as_json() for each in rest[:size]], "next": more}


async def _history(call: Call) -> Any:
    ran = call.visit.console.everything.ran(call.values["period"], call.values.get("task"))
    found = await ran.current()
    return {"as_of": texts.iso(ran.as_of.at_ms), **found.as_json()}


async def _audit(call: Call) -> Any:
    before = ""
    if "cursor" in call.values:
        [before] = read_place("audit", call.values["cursor"], str)
    found, more = await entries(call.parts.resque.store, call.values["size"], before)
    return {"data": found, "next": write_place("audit", more) if more else None}


def _get(
    path: str,
    summary: str,
    handler: Callable[[Call], Awaitable[Any]],
    *parameters: Parameter,
    answer: Any = None,
    problems: tuple[str, ...] = (),
) -> ApiEndpoint:
    made = {"type": "object"} if answer is None else answer
    return ApiEndpoint(
        "GET", path, READ, summary, handler, parameters, answer=made, problems=problems
    )


_ITEM = {"type": "object"}
_PAGES = (SIZE, CURSOR)
_NOT_FOUND = ("not-found",)
_MOVED = ("not-found", "wrong-cursor", "list-changed")
NAME_PART = Parameter(
    "name", {"type": "string", "maxLength": 600}, "Only those whose name has this in it."
)
FROM = Parameter(
    "from", {"type": "integer", "minimum": 0, "maximum": 10**11}, "From this second on."
)

PERIOD = Parameter(
    "period", {"type": "string", "enum": [*PERIODS], "default": "1h"}, "How far it goes back."
)
TASK_NAME = Parameter(
    "task", {"type": "string", "minLength": 1, "maxLength": 600}, "Only this task; no queues then."
)

READS = [
    _get("/health", "Whether Redis answers, and whether somebody leads.", _health),
    _get("/overview", "The installation in a few numbers, as they were at `as_of`: on a large Redis up to a "
         "minute ago.", _overview),
    _get("/queues", "The queues, by name. On a large Redis a new one may be missing for up to a minute; the "
         "numbers are current.", _queues, NAME_PART, *_PAGES,
         answer=paged(_QUEUE_SCHEMA), problems=("wrong-cursor",)),
    _get("/queues/{queue}", "A queue.", _queue, QUEUE, answer=_QUEUE_SCHEMA, problems=_NOT_FOUND),
    _get("/queues/{queue}/jobs", "The jobs that wait in a queue, the next to run first.",
         _queue_jobs, QUEUE, *_PAGES, answer=paged(_ITEM), problems=_MOVED),
    _get("/failed", "Failed jobs, the newest first. With a filter, one page looks at no more than 5,000 "
         "entries, so it may be short and have a next one.",
         _failed_page, *_FILTERS, LIST, *_PAGES, answer=paged(_ITEM), problems=_MOVED),
    _get("/failed/groups", "Failed jobs by task and exception, the largest group first, of the newest 100,000: "
         "`looked_at` of `total`. Without a filter, as they were at most 30 s ago.",
         _failed_groups, *_FILTERS, answer=paged(_ITEM)),
    _get("/failed/{id}", "A failed job with its backtrace.", _failed_entry, DIGEST, AT, LIST,
         problems=_NOT_FOUND),
    _get("/delayed", "The seconds at which jobs are due, the earliest first, each with its first 20 jobs.",
         _delayed, FROM, *_PAGES, answer=paged(_ITEM), problems=("wrong-cursor",)),
    _get("/schedules", "Periodic tasks and schedules, Ruby's too.", _schedules, answer=paged(_ITEM)),
    _get("/workers", "The workers of all languages. On a large Redis a new one may be missing for up to a "
         "minute.", _workers, *_PAGES, answer=paged(_ITEM),
         problems=("wrong-cursor",)),
    _get("/processes", "The worker processes of resqpy.", _processes, *_PAGES, answer=paged(_ITEM),
         problems=("wrong-cursor",)),
    _get("/history", "What ran, by task, by queue and over the time, how long it ran and waited, and marks. "
         "`others` is what workers of other programs did, by Resque's own counters; jobs that are given up "
         "because their worker died count as failed there, also resqpy's. Read at `as_of`.",
         _history, PERIOD, TASK_NAME),
    ApiEndpoint("GET", "/audit", ("admin",), "Who changed what, the newest first.", _audit, _PAGES,
                answer=paged(_ITEM), problems=("wrong-cursor",)),
]  # fmt: skip
