"""`GET` of `/api/v1`: what there is. Each page costs as much as it shows, however long the list is."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from resqpy.base import codec, job_records, reading
from resqpy.base.masking import HIDDEN, Redaction
from resqpy.base.model import FailedJob, Job
from resqpy.diagnosis import texts
from resqpy.diagnosis.workers import (
    all_workers,
    failed_json,
    group_json,
    job_json,
    pause_json,
    schedule_json,
)
from resqpy.engine.inspect.failed_jobs import Wanted, grouped
from resqpy.engine.inspect.schedule_view import ScheduleView
from resqpy.framework.tasks.arguments import shown_args, shown_payload
from resqpy.store import delayed, overview, queues
from resqpy.store.connection.client import Store
from resqpy.store.sweep import Item, Sweep
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
_NEAR = 1000  # items before and after a place where a list may have moved to
_LOOKED_AT = 10_000  # items that a filtered page looks at
_WINDOW = 500  # of them, in one round trip
_FOUND_WITHIN = 100_000  # newest entries among which one is looked for by its id

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
    now, pause, leaders = await store.look(
        [
            ("TIME",),
            ("GET", store.keys.pause),
            ("MGET", store.keys.node_leader, store.keys.ruby_leader()),
        ]
    )
    return {
        "redis_time": texts.iso(int(now[0]) * 1000),
        "paused": overview.says_paused(pause),
        "has_leader": any(leaders),
    }


async def _overview(call: Call) -> Any:
    found = await overview.count(call.parts.resque.store, {})
    leader = await overview.leader(call.parts.resque.store)
    return {
        "queues": len(found.queues),
        "waiting": sum(found.queues.values()),
        "delayed_times": found.delayed,
        "failed": sum(found.failed.values()),
        "workers": found.workers,
        "processed": found.stats["processed"],
        "failures": found.stats["failed"],
        "leader": leader,
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
    },
}


async def _queues(call: Call) -> Any:
    resque, size = call.parts.resque, call.values["size"]
    names = await resque.queues()
    wanted = call.values.get("name", "")
    names = [each for each in names if wanted in each]
    after = ""
    if "cursor" in call.values:
        [after] = read_place(f"queues {wanted}", call.values["cursor"], str)
    rest = [each for each in names if each > after]
    shown = await _queue_values(call, rest[:size])
    more = write_place(f"queues {wanted}", rest[size - 1]) if len(rest) > size else None
    return {"data": shown, "next": more}


async def _queue_values(call: Call, names: list[str]) -> list[dict[str, Any]]:
    store = call.parts.resque.store
    lengths = await queues.lengths(store, names)
    pauses = await overview.queue_pauses(store, names)
    limits = await call.parts.resque.running_limits()
    return [
        {
            "name": name,
            "waiting": length,
            "limit": limits[name].most if name in limits else None,
            "running": len(limits[name].running) if name in limits else None,
            "pause": pause_json(pauses[name]) if name in pauses else None,
        }
        for name, length in zip(names, lengths, strict=True)
    ]


async def known_queue(call: Call) -> str:
    """The queue in the path.

    Raises:
        ApiProblem: there is none.
    """
    name: str = call.values["queue"]
    names = await call.parts.resque.queues()
    if name not in names:
        near = nearest(name, names)
        hint = f"; did you mean {near!r}?" if near else ""
        raise ApiProblem("not-found", f"there is no queue {name[:200]!r}{hint}", near)
    return name


async def _queue(call: Call) -> Any:
    return (await _queue_values(call, [await known_queue(call)]))[0]


async def _queue_jobs(call: Call) -> Any:
    store, name = call.parts.resque.store, await known_queue(call)
    place, size = f"queue {name}", call.values["size"]
    start = 0
    if "cursor" in call.values:
        at, digest = read_place(place, call.values["cursor"], int, str)
        start = await _where(store, store.keys.queue(name), at, digest) + 1
    raws = await _range(store, store.keys.queue(name), start, start + size)
    data = [
        {"at": start + at, **_job(call, reading.show_job(raw, name))}
        for at, raw in enumerate(raws[:size])
    ]
    more = None
    if len(raws) > size:
        more = write_place(place, start + size - 1, codec.digest(raws[size - 1]))
    return {"data": data, "next": more}


async def _range(store: Store, key: str, start: int, stop: int) -> list[bytes]:
    [raws] = await store.look([("LRANGE", key, max(start, 0), stop)]) if stop >= 0 else [[]]
    return list(raws)


async def _where(store: Store, key: str, at: int, digest: str) -> int:
    """Where the item is now that was at this index.

    Raises:
        ApiProblem: it is not there, nor near.
    """
    [there] = await store.look([("LINDEX", key, at)])
    if there is not None and codec.digest(there) == digest:
        return at
    first = max(0, at - _NEAR)
    window = await _range(store, key, first, at + _NEAR)
    places = [first + n for n, raw in enumerate(window) if codec.digest(raw) == digest]
    if not places:
        words = "the last item of that page is gone, and what is around it; start without a cursor"
        raise ApiProblem("list-changed", words)
    return min(places, key=lambda place: abs(place - at))


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


async def known_list(call: Call) -> str:
    """The failed list that is asked for.

    Raises:
        ApiProblem: there is none.
    """
    name, lists = call.values["list"], await call.parts.resque.failed_lists()
    if name not in lists:
        near = nearest(name, list(lists))
        raise ApiProblem("not-found", f"there is no failed list {name!r}", near)
    return str(name)


def _wanted(call: Call) -> tuple[Wanted, str]:
    given = [call.values.get(each.name) for each in _FILTERS]
    return Wanted.of(*given), repr(given)


async def _failed_page(call: Call) -> Any:
    """The newest first. With filters, a page may be short, and still have a next one."""
    store, name = call.parts.resque.store, await known_list(call)
    key, size = store.keys.failed_list(name), call.values["size"]
    wanted, said = _wanted(call)
    whose = f"failed {name} {said}"
    if "cursor" in call.values:
        at, digest = read_place(whose, call.values["cursor"], int, str)
        stop = await _where(store, key, at, digest) - 1
    else:
        [length] = await store.look([("LLEN", key)])
        stop = int(length) - 1
    data, looked_at, last = list[dict[str, Any]](), 0, (0, b"")
    async for at, raw in _backwards(store, key, stop, size if wanted.everything else _WINDOW):
        looked_at, last = looked_at + 1, (at, raw)
        if (entry := wanted.entry(raw, name)) is not None:
            data.append({"at": at, **_failed(call, entry)})
        if len(data) == size or looked_at == _LOOKED_AT:
            break
    more = write_place(whose, last[0], codec.digest(last[1])) if last[0] > 0 else None
    return {"data": data, "next": more, "looked_at": looked_at}


async def _backwards(
    store: Store, key: str, stop: int, step: int
) -> AsyncGenerator[tuple[int, bytes], None]:
    """The items of a list from an index down to the first."""
    while stop >= 0:
        start = max(0, stop - step + 1)
        window = await _range(store, key, start, stop)
        for at, raw in reversed(list(enumerate(window, start))):
            yield at, raw
        stop = start - 1


async def find_failed(call: Call) -> FailedJob:
    """The failed entry in the path.

    Raises:
        ApiProblem: it is not there.
    """
    store, name = call.parts.resque.store, await known_list(call)
    [length] = await store.look([("LLEN", store.keys.failed_list(name))])
    start = max(0, int(length) - _FOUND_WITHIN)
    item = await find_item(call, store.keys.failed_list(name), start)
    if item is None:
        words = f"no failed job among the newest {_FOUND_WITHIN:,} of {name!r} has that id"
        raise ApiProblem("not-found", f"{words}: it was removed or retried")
    return job_records.decode_failed(item.raw, name)


async def find_item(call: Call, key: str, start: int = 0) -> Item | None:
    """The item of a list whose id is in the path: near where it was seen, else from an index on."""
    store, digest, at = call.parts.resque.store, call.values["id"], call.values.get("at")
    sweeps = [Sweep(store, key, start=start)]
    if at is not None:
        sweeps.insert(0, Sweep(store, key, start=max(0, at - _NEAR), most=2 * _NEAR))
    for sweep in sweeps:
        while page := await sweep.page():
            found = next((item for item in page if codec.digest(item.raw) == digest), None)
            if found is not None:
                return found
    return None


async def _failed_entry(call: Call) -> Any:
    return _failed(call, await find_failed(call), backtrace=True)


async def _failed_groups(call: Call) -> Any:
    store, redaction = call.parts.resque.store, call.parts.redaction
    lists, (wanted, _) = await call.parts.resque.failed_lists(), _wanted(call)
    counts = Counter[str]()

    async def newest() -> AsyncGenerator[FailedJob, None]:
        for name, length in lists.items():
            start = max(0, length - _FOUND_WITHIN)
            async for raw in _entries(store, store.keys.failed_list(name), start):
                counts["looked at"] += 1
                if (entry := wanted.entry(raw, name, with_job=False)) is not None:
                    yield entry

    shown = [group_json(each) for each in await grouped(newest())]
    for each in shown:
        each["example_error"] = _text(redaction, each["example_error"])
    looked_at, total = counts["looked at"], sum(lists.values())
    return {"data": shown, "next": None, "looked_at": looked_at, "total": total}


async def _entries(store: Store, key: str, start: int) -> AsyncGenerator[bytes, None]:
    sweep = Sweep(store, key, start=start)
    while page := await sweep.page():
        for item in page:
            yield item.raw


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
    store, size = call.parts.resque.store, call.values["size"]
    after = call.values["from"] - 1 if "from" in call.values else -1
    if "cursor" in call.values:
        [after] = read_place("delayed", call.values["cursor"], int)
    page, count, last = list[dict[str, Any]](), 0, after
    commands = [
        ("ZRANGE", store.keys.schedule, f"({after}", "+inf", "BYSCORE", "LIMIT", 0, size + 1)
    ]
    [members] = await store.look(commands)
    seconds = [int(each) for each in members if delayed.is_second(each.decode("utf-8", "replace"))]
    heads = await store.look(
        [("LRANGE", store.keys.delayed(each), 0, _HEAD - 1) for each in seconds[:size]]
        + [("LLEN", store.keys.delayed(each)) for each in seconds[:size]]
    )
    for place, second in enumerate(seconds[:size]):
        jobs = [_job(call, reading.show_delayed(raw)) for raw in heads[place]]
        count, last = heads[place + len(heads) // 2], second
        page.append(
            {"second": second, "at": texts.iso(second * 1000), "count": count, "jobs": jobs}
        )
    more = write_place("delayed", last) if len(members) > size and page else None
    return {"data": page, "next": more}


_HEAD = 20  # jobs of a second that are shown


async def find_delayed(call: Call) -> Item:
    """The delayed job in the path.

    Raises:
        ApiProblem: it is not there.
    """
    second = call.values["second"]
    item = await find_item(call, call.parts.resque.store.keys.delayed(second))
    if item is None:
        raise ApiProblem("not-found", f"no job due at the second {second} has that id")
    return item


async def _schedules(call: Call) -> Any:
    timetable = await ScheduleView(call.parts.resque).load()
    return {"data": [schedule_json(each) for each in timetable.entries], "next": None}


async def _workers(call: Call) -> Any:
    found = sorted(await all_workers(call.parts.resque), key=lambda each: each.worker_id)
    after = ""
    if "cursor" in call.values:
        [after] = read_place("workers", call.values["cursor"], str)
    rest = [each for each in found if each.worker_id > after]
    size = call.values["size"]
    known, redaction = call.parts.tasks, call.parts.redaction
    shown = [each.as_json(lambda job: shown_payload(known, job, redaction)) for each in rest[:size]]
    if not may_see_arguments(call):
        shown = [{**each, "payload": HIDDEN if each["payload"] else None} for each in shown]
    more = write_place("workers", rest[size - 1].worker_id) if len(rest) > size else None
    return {"data": shown, "next": more}


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

READS = [
    _get("/health", "Whether Redis answers, and whether somebody leads.", _health),
    _get("/overview", "The installation in a few numbers.", _overview),
    _get("/queues", "The queues, by name.", _queues, NAME_PART, *_PAGES,
         answer=paged(_QUEUE_SCHEMA), problems=("wrong-cursor",)),
    _get("/queues/{queue}", "A queue.", _queue, QUEUE, answer=_QUEUE_SCHEMA, problems=_NOT_FOUND),
    _get("/queues/{queue}/jobs", "The jobs that wait in a queue, the next to run first.",
         _queue_jobs, QUEUE, *_PAGES, answer=paged(_ITEM), problems=_MOVED),
    _get("/failed", "Failed jobs, the newest first. With a filter, one page looks at no more than 10,000 "
         "entries, so it may be short and have a next one.",
         _failed_page, *_FILTERS, LIST, *_PAGES, answer=paged(_ITEM), problems=_MOVED),
    _get("/failed/groups", "Failed jobs by task and exception, the largest group first. Reads the newest 100,000 "
         "of each list: `looked_at` of `total`.",
         _failed_groups, *_FILTERS, answer=paged(_ITEM)),
    _get("/failed/{id}", "A failed job with its backtrace.", _failed_entry, DIGEST, AT, LIST,
         problems=_NOT_FOUND),
    _get("/delayed", "The seconds at which jobs are due, the earliest first, each with its first 20 jobs.",
         _delayed, FROM, *_PAGES, answer=paged(_ITEM), problems=("wrong-cursor",)),
    _get("/schedules", "Periodic tasks and schedules, Ruby's too.", _schedules, answer=paged(_ITEM)),
    _get("/workers", "The workers of all languages.", _workers, *_PAGES, answer=paged(_ITEM),
         problems=("wrong-cursor",)),
    ApiEndpoint("GET", "/audit", ("admin",), "Who changed what, the newest first.", _audit, _PAGES,
                answer=paged(_ITEM), problems=("wrong-cursor",)),
]  # fmt: skip
