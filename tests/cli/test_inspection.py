"""Commands that look and repair, on what real Ruby and Node programs left, and on our own."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy import Queue, Worker
from resqpy.cli.output.printing import Exit
from tests.cli.conftest import Call, Said
from tests.support import recordings

LISTS = {
    "info": "waiting",
    "queues": "alpha",
    "jobs": "ArgsJob",
    "delayed": "class",
    "failed": "NoSuchJob",
    "workers": "recorded-host:4001",
    "schedule": "first_in",
    "locks": "lock:Locked:alpha",
    "leader": "Ruby",
    "stats": "processed",
    "stats --every": "processed",
    "schedule fires --limit 3": "local time",
}


@pytest.fixture
async def recorded(redis: Redis) -> Redis:
    """What Ruby's and Node's programs left, in one Redis."""
    for name in recordings.INSTALLATIONS:
        await recordings.replay(redis, name)
    return redis


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[Queue]:
    """A queue on the test's Redis."""
    async with Queue(redis_url) as made:
        yield made


@pytest.fixture
def call(resqpy: Call) -> Any:
    """Call a command beside the test's event loop."""
    import asyncio

    async def call(*arguments: str) -> Said:
        return await asyncio.to_thread(resqpy, *arguments)

    return call


async def failures(redis_url: str, queue: Queue, *reasons: str) -> None:
    """Let jobs fail, one for each reason."""
    await queue.enqueue_many([("q", "boom", [reason]) for reason in reasons])
    await queue.enqueue("other", "bang", [])
    async with Worker(redis_url, {"boom": _raise(ValueError), "bang": _raise(KeyError)}) as worker:
        from tests.support.waiting import wait_for

        await wait_for(lambda: _failed(queue, len(reasons) + 1))
        del worker


async def _failed(queue: Queue, count: int) -> bool:
    return bool(await queue.store.call("LLEN", queue.store.keys.failed) == count)


def _raise(error: type[Exception]) -> Any:
    async def task(*args: Any) -> None:
        raise error(*args)

    return task


# -- looking --


@pytest.mark.parametrize("arguments", LISTS)
async def test_lists_show_what_others_left(recorded: Redis, call: Any, arguments: str) -> None:
    """A table for people, JSON for programs; nothing that was written breaks them."""
    shown = await call(*arguments.split())
    told = await call(*arguments.split(), "--json")

    assert (shown.code, told.code) == (0, 0)
    assert LISTS[arguments] in shown.out
    assert "\x1b" not in shown.out
    assert told.json is not None


async def test_an_empty_redis_is_said_to_be_empty(redis: Redis, call: Any) -> None:
    """Not an empty table."""
    outs = [(await call(name)).out.strip() for name in ("queues", "jobs", "delayed", "failed")]

    assert outs == ["no queues", "no jobs", "no delayed jobs", "no failed jobs"]
    assert (await call("jobs", "--json")).json == []


async def test_jobs_can_be_filtered_and_paged(queue: Queue, call: Any) -> None:
    """By queue, class, offset and limit."""
    await queue.enqueue_many([("q", "a" if n % 2 else "b", [n]) for n in range(10)])

    found = (
        await call("jobs", "q", "--class", "a", "--offset", "1", "--limit", "2", "--json")
    ).json
    missing = await call("jobs", "nowhere")

    assert [job["args"] for job in found] == [[3], [5]]
    assert missing.code == Exit.NOT_FOUND


async def test_times_are_told_in_both_zones(
    queue: Queue, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The local one, and UTC."""
    import time

    await queue.enqueue_at(datetime(2030, 7, 1, 12, tzinfo=UTC), "q", "later", [])
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        shown = (await call("delayed")).out
    finally:
        monkeypatch.setenv("TZ", "UTC")
        time.tzset()

    assert "2030-07-01 14:00:00 CEST (12:00:00 UTC)" in shown


# -- failed jobs --


async def test_failed_jobs_are_found_and_retried_by_id(
    redis: Redis, redis_url: str, queue: Queue, call: Any
) -> None:
    """The id is a digest of the bytes, so it stays the same while others come and go."""
    await failures(redis_url, queue, "one", "two")
    [first] = [each for each in (await call("failed", "--json")).json if each["args"] == ["one"]]
    short = first["id"][:10]

    shown = await call("failed", "show", short)
    tried = await call("failed", "retry", short, "--dry-run", "--json")
    done = await call("failed", "retry", short)
    again = await call("failed", "retry", short)

    assert "ValueError" in shown.out
    assert "Traceback" in shown.out
    assert tried.json == {"found": 1, "retried": 0, "dry_run": True}
    assert (done.code, done.out) == (0, "1 failed job retried\n")
    assert await redis.lrange("resque:queue:q", 0, -1) == [
        b'{"class":"boom","queue":"q","args":["one"]}'
    ]
    assert again.code == Exit.NOT_FOUND


async def test_what_ruby_retried_is_told(redis: Redis, call: Any) -> None:
    """It leaves the entry in the list, so a second retry would run the job twice."""
    entry = {
        "payload": {"class": "A", "args": []},
        "queue": "q",
        "worker": "h:1:q",
        "backtrace": [],
    }
    entry |= {"failed_at": "2020/11/21 10:00:00 UTC", "exception": "E", "error": "e"}
    fresh, retried = (
        json.dumps(entry),
        json.dumps(entry | {"retried_at": "2020/11/21 11:00:00 UTC"}),
    )
    await redis.rpush("resque:failed", fresh, retried)

    shown = await call("failed")
    found = (await call("failed", "--json")).json

    assert shown.out.count("ago (retried)") == 1
    assert {each["retried_at"] for each in found} == {None, "2020-11-21T11:00:00+00:00"}
    [id_] = [each["id"] for each in found if each["retried_at"]]
    one = await call("failed", "show", id_)
    assert "retried" in one.out
    assert "by Ruby, which keeps it in the list" in one.out

    left = "; left: 1 that Ruby has retried already (see --retried)\n"
    would = await call("failed", "retry", "--all", "--dry-run")
    assert would.out == f"1 failed job would be retried{left}"
    done = await call("failed", "retry", "--class", "A", "--yes", "--json")
    assert done.json == {"found": 1, "retried": 1, "dry_run": False, "left": 1}
    none = await call("failed", "retry", "--all", "--yes")
    assert none.out == f"0 failed jobs retried{left}"
    again = await call("failed", "retry", "--all", "--retried", "--yes")
    assert again.out == "1 failed job retried\n"
    assert await redis.llen("resque:queue:q") == 2


async def test_failed_jobs_are_counted_by_what_failed_how(
    redis_url: str, queue: Queue, call: Any
) -> None:
    """With an example, whose id the other commands take; filtered, and limited."""
    await failures(redis_url, queue, "one", "two")

    shown = (await call("failed", "groups")).out
    found = (await call("failed", "groups", "--json")).json
    one = await call("failed", "groups", "--limit", "1")
    example = await call("failed", "show", found[0]["example"][:10], "--json")

    assert [(each["class"], each["exception"], each["count"]) for each in found] == [
        ("boom", "ValueError", 2), ("bang", "KeyError", 1),
    ]  # fmt: skip
    assert found[0]["first_at_ms"] <= found[0]["last_at_ms"] == example.json["failed_at_ms"]
    assert found[0]["example"][:10] in shown
    assert "(1 of 2 groups; --limit shows more)" in one.err
    assert (await call("failed", "groups", "--class", "nobody")).out == "no such failed jobs\n"


async def test_failed_jobs_are_retried_at_a_rate(
    redis: Redis, redis_url: str, queue: Queue, call: Any
) -> None:
    """It is told how long that takes; a rate of single ids is refused."""
    await failures(redis_url, queue, "one", "two")

    tried = await call("failed", "retry", "--class", "boom", "--rate", "0.5", "--dry-run")
    wrong = await call("failed", "retry", "abcdef", "--rate", "5")
    done = await call("failed", "retry", "--class", "boom", "--rate", "50", "--yes")

    assert tried.out == "2 failed jobs would be retried, in 4 s\n"
    assert wrong.code == Exit.USAGE
    assert done.out == "2 failed jobs retried\n"
    assert await redis.llen("resque:failed") == 1


async def test_failed_jobs_are_filtered(
    redis: Redis, redis_url: str, queue: Queue, call: Any
) -> None:
    """By class, exception and queue, for each verb; the rest stays."""
    await failures(redis_url, queue, "one", "two")

    listed = (await call("failed", "list", "--exception", "ValueError", "--json")).json
    removed = await call("failed", "remove", "--class", "boom", "--yes")
    retried = await call("failed", "retry", "--all", "--to-queue", "later", "--yes")

    assert {each["class"] for each in listed} == {"boom"}
    assert removed.out == "2 failed jobs removed\n"
    assert retried.out == "1 failed job retried\n"
    assert await redis.llen("resque:failed") == 0
    assert await redis.lrange("resque:queue:later", 0, -1) == [
        b'{"class":"bang","queue":"later","args":[]}'
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        "failed remove --all",
        "failed retry --all",
        "queues delete q",
        "jobs remove q --class boom",
        "delayed remove --class boom",
        "locks remove lock:boom:q:[]",
    ],
)
async def test_nothing_is_destroyed_unasked(
    redis: Redis, redis_url: str, queue: Queue, call: Any, arguments: str
) -> None:
    """Off a terminal nobody can be asked: refused without --yes; a dry run changes nothing either."""
    await failures(redis_url, queue, "one")
    await queue.enqueue("q", "boom", [])
    await queue.enqueue_in(timedelta(hours=1), "q", "boom", [])
    await redis.set("resque:lock:boom:q:[]", 9999999999)
    before = await redis.dbsize(), await redis.llen("resque:failed")

    refused = await call(*arguments.split())
    tried = await call(*arguments.split(), "--dry-run")

    assert (refused.code, tried.code) == (Exit.USAGE, 0)
    assert "--yes" in refused.err
    assert (await redis.dbsize(), await redis.llen("resque:failed")) == before
    assert (await call(*arguments.split(), "--yes")).code == 0
    assert (await redis.dbsize(), await redis.llen("resque:failed")) != before


async def test_who_says_nothing_is_asked_which(resqpy: Call) -> None:
    """`failed remove` alone, or with ids and filters, is refused."""
    import asyncio

    said = await asyncio.to_thread(resqpy, "failed", "remove")

    assert (said.code, "--class" in said.err) == (Exit.USAGE, True)


# -- queues, delayed jobs --


async def test_waiting_jobs_are_moved(redis: Redis, queue: Queue, call: Any) -> None:
    """By task and arguments, so many at the most; refused without --yes, and told by --dry-run."""
    await queue.enqueue_many([("q", "mail", [n % 2]) for n in range(6)])
    some = ("jobs", "move", "q", "other", "--class", "mail", "--args", "[1]")

    tried = await call(*some, "--dry-run", "--json")
    refused = await call(*some)
    done = await call(*some, "--limit", "2", "--yes")
    missing = await call("jobs", "move", "nowhere", "other", "--yes")
    wrong = await call("jobs", "move", "q", "", "--dry-run")

    assert tried.json == {"moved": 0, "found": 3, "looked_at": 6, "dry_run": True}
    assert (refused.code, missing.code, wrong.code) == (Exit.USAGE, Exit.NOT_FOUND, Exit.USAGE)
    assert done.out == "2 jobs moved to 'other'\n"
    assert (await redis.llen("resque:queue:q"), await redis.llen("resque:queue:other")) == (4, 2)


async def test_jobs_are_removed_by_arguments(redis: Redis, queue: Queue, call: Any) -> None:
    """Whichever language wrote them; an object of inputs stands for ActionHero's one argument."""
    await queue.enqueue_many([("q", "mail", [{"to": "a"}]), ("q", "mail", [{"to": "b"}])])
    await redis.rpush("resque:queue:q", b'{"class":"mail","args":[{"to":"a"}]}')

    said = await call(
        "jobs", "remove", "q", "--class", "mail", "--args", '{"to": "a"}', "-y", "--json"
    )

    assert said.json == {"removed": 2, "found": 2, "looked_at": 3, "dry_run": False}
    assert await redis.llen("resque:queue:q") == 1


async def test_delayed_jobs_are_removed_by_time_or_task(queue: Queue, call: Any) -> None:
    """All of one time, or those of one task."""
    noon = datetime(2030, 1, 1, 12, tzinfo=UTC)
    for name in ("a", "b"):
        await queue.enqueue_at(noon, "q", name, [])
        await queue.enqueue_at(noon + timedelta(hours=1), "q", name, [])

    first = await call("delayed", "remove", "--at", "2030-01-01T12:00:00+00:00", "--yes")
    second = await call("delayed", "remove", "--class", "a", "--yes")
    left = (await call("delayed", "--json")).json

    assert first.out == "2 delayed jobs removed\n"
    assert second.out == "1 delayed job removed\n"
    assert [(each["class"], each["at"]) for each in left] == [("b", "2030-01-01T13:00:00+00:00")]


# -- workers --


async def test_a_dead_worker_is_cleaned_up(recorded: Redis, call: Any) -> None:
    """Its job goes to the failed list; one that is not there is not found."""
    name = "recorded-host:4003"
    before = await recorded.llen("resque:failed")

    done = await call("workers", "clean", name, "--yes", "--json")
    again = await call("workers", "clean", name, "--yes")

    assert done.json["failed_jobs"] == 1
    assert await recorded.llen("resque:failed") == before + 1
    assert again.code == Exit.NOT_FOUND


async def test_nobody_was_seen_in_the_future(redis: Redis, call: Any) -> None:
    """Node rounds the time of its pings up as well as down."""
    await redis.sadd("resque:workers", "node-host:7+1:q")
    soon = int(time.time()) + 1
    ping = f'{{"time":{soon},"name":"node-host:7+1","queues":"q"}}'
    await redis.set("resque:worker:ping:node-host:7+1", ping)

    shown = await call("workers")

    [line] = [each for each in shown.out.splitlines() if "node-host" in each]
    assert " ago " in line


async def test_pause_and_resume(redis: Redis, call: Any) -> None:
    """For all workers of Ruby and resqpy, by the key that they know."""
    first, second = await call("pause"), await call("pause", "--json")
    paused = await redis.get("resque:pause-all-workers")
    shown = (await call("info", "--json")).json["paused"]
    third = await call("resume")

    assert (first.out, second.json["changed"]) == ("all workers paused\n", False)
    assert (paused, shown) == (b"true", True)
    assert third.out == "all workers resumed\n"
    assert await redis.exists("resque:pause-all-workers") == 0


# -- who leads, and when what runs --


async def test_a_lock_that_never_ends_is_warned_of(redis: Redis, call: Any) -> None:
    """Nobody would ever take over from a dead scheduler that left one."""
    await redis.set("resque:resque_scheduler_leader_lock", "node-host")

    said = await call("leader")

    assert "never expires" in said.err
    assert "lead at the same time" not in said.err


async def test_a_lock_of_another_kind_is_shown(redis: Redis, call: Any) -> None:
    """It keeps us from promoting, so `resqpy leader` is where somebody looks."""
    await redis.rpush("resque:resque_scheduler_leader_lock", "what is this?")

    said = await call("leader", "--json")
    glance = await call("info", "--json")

    assert [lock["leader"] for lock in said.json] == [None, None, "a key that is no lock"]
    assert "never expires" in said.err
    assert glance.code == 0


async def test_two_leaders_are_warned_of(redis: Redis, call: Any) -> None:
    """Ruby's and Node's schedulers don't look at each other's lock; resqpy has both or none."""
    await redis.set("resque:resque_scheduler_leader_lock", "node-host", ex=180)
    await redis.set("resque:resque:resque_scheduler_master_lock", "ruby-host", ex=180)
    two = await call("leader", "--json")
    await redis.set("resque:resque:resque_scheduler_master_lock", "node-host", ex=180)
    one = await call("leader")

    assert "lead at the same time" in two.err
    assert [lock["leader"] for lock in two.json] == [None, "ruby-host", "node-host"]
    assert one.err == ""


async def test_all_runs_between_two_times(redis: Redis, call: Any) -> None:
    """`schedule --from … --to …` shows each, in local time and in UTC, with what clocks skip."""
    entry = b'{"class":"Night","queue":"q","args":[],"cron":"0 30 %s * * * Europe/Berlin"}'
    await redis.hset("resque:persistent_schedules", "hourly", entry % b"*")
    await redis.hset("resque:persistent_schedules", "nightly", entry % b"2")
    between = ("--from", "2026-03-28T00:00+00:00", "--to=2026-03-31T00:00+00:00")

    shown = (await call("schedule", *between)).out
    told = (await call("schedule", *between, "--json")).json
    cut = await call("schedule", *between, "--limit", "7", "--json")

    assert len([fire for fire in told if fire["runs"]]) == 3 * 24 + 3
    assert "skipped" in shown
    assert "CEST" in shown
    assert "UTC" in shown
    assert (len(cut.json), "more runs than these 7" in cut.err) == (7, True)


@pytest.mark.parametrize("name", recordings.INSTALLATIONS)
async def test_doctor_looks_at_an_installation_of_one_language(
    redis: Redis, call: Any, name: str
) -> None:
    """One that no Python ever saw: all checks are made."""
    await recordings.replay(redis, name)

    found = {each["name"] for each in (await call("doctor", "--json")).json}

    assert found >= {"dead workers", "unworked queue"}
    assert "not looked at" not in found


# -- quick --


@pytest.mark.parametrize("name", ["queues", "failed", "workers", "leader", "healthcheck"])
def test_a_look_imports_little(redis_url: str, name: str) -> None:
    """No cron, no logs, no embedded server, no project: none of it is needed to look at a Redis."""
    import subprocess
    import sys

    script = (
        "import sys; from resqpy.cli.main import run; run(sys.argv[1:]);"
        "print('\\nMODULES', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, name, "--redis", redis_url],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    modules = set(done.stdout.rpartition("MODULES")[2].split())
    heavy = ("croniter", "structlog", "dateutil", "resqpy.embedded", "resqpy.base.cron.cron",
             "resqpy.engine.worker.worker", "resqpy.engine.scheduler.scheduler",
             "resqpy.framework.project.project")  # fmt: skip

    assert [each for each in heavy if each in modules] == []


async def test_history_of_a_schedule(call: Any, redis: Redis) -> None:
    """The latest first, with how late each was; one that there is not is an error."""
    await redis.hset("resque:persistent_schedules", "hourly", '{"cron":"0 * * * *","class":"A"}')
    rows = ("1790000000000 1790000002500 enqueued", "1790003600000 1790003600000 refused")
    junk = ("junk", f"{'9' * 5000} 1 enqueued", "1790000000000 ² enqueued")
    await redis.rpush("resque:resqpy:fires:ruby:hourly", *rows, *junk)

    told = (await call("schedule", "history", "hourly", "--json")).json
    one = await call("schedule", "history", "hourly", "--limit", "1")
    missing = await call("schedule", "history", "hourli")

    assert [(each["lag_ms"], each["outcome"]) for each in told] == [
        (0, "refused"),
        (2500, "enqueued"),
    ]
    assert (one.code, "refused" in one.out, "enqueued" in one.out) == (Exit.OK, True, False)
    assert missing.code != Exit.OK
    assert "'hourly'" in missing.err
