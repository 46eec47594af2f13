"""The page of what is kept, where, for how long, names each kind of key; and what it says of a restore is so."""

from __future__ import annotations

import ast
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from redis import Redis

from resqpy import Process, Project, api
from resqpy.base.keys import Keys
from resqpy.embedded import PrivateServer
from tests.docs.pages import DOCS
from tests.support.source import PACKAGE
from tests.support.waiting import wait_for

PAGE = (DOCS / "reference" / "kept.md").read_text()
TASKS = """
import asyncio
from resqpy import task

@task
async def job(name: str) -> str:
    "For the test."
    return name

@task
async def long() -> str:
    "Runs while the dump is made."
    await asyncio.sleep(0.5)
    return "long"
"""


def own() -> Iterator[str]:
    """The names that `Keys` makes of our own, up to their variable part."""
    for node in ast.walk(ast.parse((PACKAGE / "base" / "keys.py").read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            parts = [each.value for each in node.args if isinstance(each, ast.Constant)]
            if node.func.attr == "own" and parts:
                yield ":".join(["resqpy", *filter(None, map(str, parts))])


def test_each_kind_of_key_is_there() -> None:
    """By its name, or by what its name begins with."""
    told = {each.rstrip(":…") for each in re.findall(r"`(resqpy:[^`<]*)", PAGE)}
    names = {*own()} - {Keys("x").events.removeprefix("x:")}  # a channel

    assert len(names) > 40
    assert [name for name in sorted(names) if not any(name.startswith(each) for each in told)] == []


class Installation:
    """A server, and processes of a project on it, one after the other.

    Attributes:
        ran: how often which job has succeeded.
    """

    def __init__(self, server: PrivateServer, root: Path) -> None:
        (root / "tasks").mkdir()
        (root / "tasks" / "all.py").write_text(TASKS)
        self.ran: Counter[str] = Counter()
        self.server = server
        self._root = root

    def process(self) -> Process:
        """One with a worker and a scheduler, which takes others for dead after a second."""
        settings = {
            "redis.url": self.server.url,
            "tasks.timeout": 50,
            "scheduler.rescue_after": 1000,
        }
        project = Project.load(self._root, "test", settings, environ={})
        return Process(project, worker=True, scheduler=True)

    def count(self, process: Process) -> None:
        """Count what it runs."""
        worker: Any = process.resque.multi_worker
        worker.on("success", lambda *told: self.ran.update([told[3]]))


async def test_a_restore_of_an_old_dump(tmp_path: Path) -> None:
    """What has run since runs again, also what ran while it was made; what came since is gone."""
    with PrivateServer() as server, Redis.from_url(server.url) as client:
        installation = Installation(server, tmp_path)
        ran, dump = installation.ran, server.directory / "dump.rdb"
        async with installation.process() as process:
            installation.count(process)
            await api.tasks.pause_queue("paused")
            await api.tasks.enqueue("job", {"name": "waits"}, "paused")
            await api.tasks.enqueue("long")
            await wait_for(lambda: client.keys("resque:worker:*+resqpy:*[!d]"))
            client.save()
            shutil.copy(dump, tmp_path / "old.rdb")
            await api.tasks.resume_queue("paused")
            await api.tasks.enqueue("job", {"name": "since"})
            await wait_for(lambda: ran.total() == 3)
        server.kill()
        shutil.copy(tmp_path / "old.rdb", dump)
        server.start()
        assert client.get("resque:pause:queue:paused") is not None  # it holds again
        ran.clear()
        async with installation.process() as process:
            installation.count(process)
            await api.tasks.resume_queue("paused")
            await wait_for(lambda: ran.total() == 2)

    assert ran == {"waits": 1, "long": 1}
