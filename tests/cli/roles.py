"""The users of Redis that `resqpy new` writes, on a server, and work for each of them."""

from __future__ import annotations

from pathlib import Path

from redis import Redis

from resqpy.base.model import WorkerId
from resqpy.embedded import PrivateServer
from resqpy.embedded.process import major_version
from resqpy.framework.api.api import api
from resqpy.framework.process.process import Process
from resqpy.framework.project.project import Project
from resqpy.store import workers
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.store.exchange import Exchange, SlotRef
from tests.support.source import ROOT

TEMPLATE = (
    ROOT
    / "resqpy"
    / "cli"
    / "scaffold"
    / "templates"
    / "project"
    / "deploy"
    / "redis"
    / "users.acl.tmpl"
)
ROLES = ("producer", "worker", "scheduler", "viewer", "console")

TASKS = '''
    from resqpy import Task, api, task

    LOCKS = ["QueueLock", "DelayQueueLock", "JobLock"]

    @task(plugins=LOCKS)
    async def locked(n: int):
        """Run alone, and enqueue another."""
        if n == 1:
            await api.tasks.enqueue("locked", {"n": 100})
            await api.tasks.enqueue_in(60_000, "locked", {"n": 101})

    @task(retry=1)
    async def fails():
        """Fail, twice."""
        raise ValueError("as planned")

    @task(at_most_once=True)
    async def once():
        """Run once."""

    @task(queue="mail")
    async def mail(to: str):
        """A tracked one."""
        return to

    @task(queue="shade", shadow=True)
    async def shaded():
        """Run in the shadow."""

    @task(frequency=100)
    async def often():
        """Run often."""

    @task(cron="* * * * * *")
    async def ticks():
        """Run each second."""
'''


class Guarded:
    """A Redis with the users of the template."""

    def __init__(self, server: PrivateServer) -> None:
        self.server = server
        self.redis = Redis.from_url(server.url)

    @property
    def version(self) -> int:
        """Its first number."""
        return int(self.redis.info("server")["redis_version"].partition(".")[0])

    def url(self, role: str) -> str:
        """The URL of a role."""
        return self.server.url.replace("unix://", f"unix://{role}:change-me@")

    def refused(self) -> list[str]:
        """What was refused since the last time, in Redis' words."""
        log = self.redis.acl_log()
        self.redis.acl_log_reset()
        # how redis-py presents itself: it bears a no, and Redis 6.2 knows no such command
        return [
            f"{e['reason']} {e['context']} {e['object']}" for e in log if e["object"] != "client"
        ]


def users(binary: Path) -> list[str]:
    """The template's lines, as a server of this version reads them."""
    lines = TEMPLATE.read_text().splitlines()
    if major_version(binary) < 7:  # 6.2 knows no keys that can only be read
        lines = [line.replace("%R~", "~") for line in lines]
    return [line for line in lines if not line.startswith("user default")]


def at_work(
    project: Path,
    url: str,
    *,
    worker: bool = False,
    scheduler: bool = False,
    port: int | None = None,
) -> Process:
    """The project's process on a Redis, with a port for probes."""
    overrides = {
        "redis.url": url, "tasks.timeout": 100, "tasks.heartbeat": 100, "scheduler.timeout": 100,
        "tasks.stuck_worker_timeout": 1000, "scheduler.rescue_after": 5000, "process.health_port": port,
    }  # fmt: skip
    return Process(Project.load(project, "test", overrides, environ={}), worker, scheduler)


async def announce() -> None:
    """What only whoever may write schedules does."""
    await api.tasks.enqueue_recurrent_job("often")


async def produce() -> None:
    """All that an application does with its jobs."""
    tasks = api.tasks
    await tasks.enqueue("locked", {"n": 1})
    await tasks.enqueue_many([("locked", {"n": n}) for n in range(2, 5)])
    await tasks.enqueue("fails")
    await tasks.enqueue("once")
    for n in (5, 6):
        await tasks.enqueue_in(300, "locked", {"n": n})
        await tasks.enqueue_in(60_000, "locked", {"n": n + 10})
    assert len(await tasks.scheduled_at("default", "locked", {"n": 15})) == 1
    await tasks.del_delayed("default", "locked", {"n": 15})
    await tasks.del_("default", "locked", {"n": 4})
    first = await api.tracked.create("mail", {"to": "a"}, priority=5, tags=["x"])
    await api.tracked.create("mail", {"to": "b"}, delay=300, priority=1)
    gone = await api.tracked.create("mail", {"to": "c"})
    await gone.disable()
    await gone.enable()
    await gone.cancel()
    await gone.remove()
    assert (await api.tracked.fetch(first.id)).status == "pending"
    await api.tracked.events.start()
    await tasks.length("default")


async def leave_dead(guarded: Guarded) -> None:
    """Leave a worker of ours that died with a job, one of Node's, and a schedule of Ruby's."""
    redis, store = guarded.redis, Store(RedisOptions(guarded.server.url))
    dead, at = WorkerId("host+1-abcd1234", "1", "lost"), "2026-11-21T00:00:00.000001Z"
    redis.rpush("resque:queue:lost", '{"class":"Echo","queue":"lost","args":[]}')
    await workers.register(store, "abcd1234", [dead], "2026-11-21 00:00:00 +0000")
    exchange = Exchange(store)
    assert (await exchange.run([], [SlotRef.of(dead)], ["lost"], at)).taken
    await exchange.close()
    await store.close()
    redis.zincrby("resque:resqpy:processes", -100, "abcd1234")
    redis.sadd("resque:workers", "node:1")
    redis.set("resque:worker:ping:node:1", '{"name":"node:1","time":1000}')
    schedule = '{"class":"ruby","queue":"r","every":"1s"}'
    redis.hset("resque:persistent_schedules", "ruby", schedule)
