"""Initializers: their order, `api.<name>`, what happens when one fails, and the examples of the docs."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.base.errors import HookTimeout, NotStarted, UsageError
from resqpy.framework.api.api import api
from resqpy.framework.process.process import Process
from tests.framework.conftest import Files, MakeProject, until

EXAMPLES = Path(__file__).parents[2] / "docs" / "how-to" / "examples"

ORDER = """
from resqpy import Initializer, api

SAID = []

class Base(Initializer):
    async def initialize(self):
        SAID.append(f"initialize {self.title()}")
        return {"name": self.title()}
    def start(self):
        SAID.append(f"start {self.title()}, worker running: {api.resque.multi_worker.running}")
    async def stop(self):
        SAID.append(f"stop {self.title()}, worker running: {api.resque.multi_worker.running}")

class LastOne(Base):
    load_priority = 2000
    start_priority = 10_000
    stop_priority = 2000

class First(Base):
    name = "mail"
    load_priority = start_priority = 300
    stop_priority = 50
"""


def module_of(process: Process, name: str) -> Any:
    """The globals of the initializer's file."""
    found = {each.__name__: each for each in process.project.registry.initializers}
    return found[name].initialize.__globals__


async def test_priorities_decide_the_order(make_project: MakeProject) -> None:
    """Three of them: for initialize, start and stop; what one returns is `api.<name>`."""
    process = Process(make_project(initializers__order=ORDER), worker=True)
    async with process:
        assert api.mail == {"name": "mail"}
        assert api.lastOne["name"] == "lastOne"
        said = module_of(process, "First")["SAID"]

    assert [each for each in said if "base" not in each] == [
        "initialize mail",
        "initialize lastOne",
        "start mail, worker running: False",
        "start lastOne, worker running: True",
        "stop mail, worker running: True",
        "stop lastOne, worker running: False",
    ]


async def test_api_leads_nowhere_before_and_after(make_project: MakeProject) -> None:
    """With what to do; and an unknown name is told with the nearest."""
    with pytest.raises(NotStarted, match=r"open_project"):
        _ = api.tasks
    async with Process(make_project()):
        with pytest.raises(AttributeError, match=r"api has no 'taks'; did you mean 'tasks'?"):
            _ = api.taks
    assert not api.started


async def test_one_that_fails_stops_those_before_it(make_project: MakeProject) -> None:
    """Nothing is left behind, and the error is the user's own."""
    process = Process(
        make_project(
            initializers__a="""
            from resqpy import Initializer

            SAID = []

            class Good(Initializer):
                load_priority = 500
                def initialize(self): SAID.append("initialized")
                def stop(self): SAID.append("stopped")

            class Bad(Initializer):
                def initialize(self): raise LookupError("no mail server")
            """
        ),
        worker=True,
    )
    with pytest.raises(LookupError, match="no mail server"):
        await process.start()

    assert module_of(process, "Good")["SAID"] == ["initialized", "stopped"]
    assert not api.started


async def test_a_failed_start_stops_in_reverse(make_project: MakeProject) -> None:
    """Also the one that failed; one that fails or hangs at its stop keeps none of the others from it."""
    process = Process(
        make_project(
            initializers__a="""
            import asyncio
            from resqpy import Initializer

            SAID = []

            class Base(Initializer):
                stop_timeout = 20
                def initialize(self): ...
                async def start(self): SAID.append(f"start {self.title()}")
                async def stop(self): SAID.append(f"stop {self.title()}")

            class One(Base): ...

            class Two(Base):
                async def stop(self):
                    await asyncio.sleep(3600)

            class Three(Base):
                def stop(self): raise ValueError("no")

            class Four(Base):
                async def start(self): raise LookupError("no port")
            """
        ),
        worker=True,
    )
    with pytest.raises(LookupError, match="no port"):
        await process.start()

    said = module_of(process, "One")["SAID"]
    assert [each for each in said if "base" not in each] == [
        "start one", "start two", "start three", "stop four", "stop one",
    ]  # fmt: skip


async def test_two_of_one_name_are_refused(make_project: MakeProject) -> None:
    """Also where one would hide `api.tasks`."""
    process = Process(
        make_project(
            initializers__a="""
            from resqpy import Initializer

            class Tasks(Initializer):
                def initialize(self): return 1
            """
        )
    )
    with pytest.raises(UsageError, match=r"api.tasks is taken"):
        await process.start()


async def test_the_timetable_runs_where_the_leader_is(
    files: Files, make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first page's example: of two processes only the leader's enqueues."""
    (files.root / "initializers").mkdir()
    shutil.copy(EXAMPLES / "timetable.py", files.root / "initializers")
    project = make_project(
        tasks__hello="""
        from resqpy import task

        @task("sayHello")
        def hello(time: str):
            '''I say hello.'''
        """
    )
    globals_of_it = project.registry.initializers[0].start.__globals__
    monkeypatch.setitem(globals_of_it, "EVERY_S", 0.01)
    async with Process(project, scheduler=False):
        await asyncio.sleep(0.05)
        assert await api.tasks.length("default") == 0
    async with Process(project, scheduler=True):
        assert len(api.timetable) == 1
        await until(lambda: api.tasks.length("default"))
        scheduled = set(api.timetable)

    await asyncio.wait(scheduled)
    assert all(each.cancelled() for each in scheduled)


async def test_stuck_workers_are_cleaned_at_boot(
    files: Files, make_project: MakeProject, redis: Redis
) -> None:
    """The first page's other example: an old job's worker goes, its job fails; a young one stays."""
    (files.root / "initializers").mkdir()
    shutil.copy(EXAMPLES / "clean_stuck_workers.py", files.root / "initializers")
    job = '{"class":"x","queue":"default","args":[{}]}'
    for name, began in (
        ("old:1:default", "2001/01/01 00:00:00"),
        ("new:1:default", "2999/01/01 00:00:00"),
    ):
        record = f'{{"run_at":"{began} UTC","queue":"default","payload":{job},"worker":"{name}"}}'
        await redis.sadd("resque:workers", name)
        await redis.set(f"resque:worker:{name}", record)
    async with Process(make_project()):
        assert list(await api.tasks.workers()) == ["new:1:default"]
        assert await api.tasks.failed_count() == 1


HANGS = """
import asyncio
from resqpy import Initializer


class Hangs(Initializer):
    start_timeout = 50

    async def {method}(self):
        for swallowed in range(3):
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if swallowed == 2 or not {swallows}:
                    raise
"""


@pytest.mark.parametrize("swallows", [False, True])
@pytest.mark.parametrize("method", ["initialize", "start"])
async def test_one_that_hangs_at_boot_is_cut_off(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch, method: str, swallows: bool
) -> None:
    """The process does not start, and says whose fault that is."""
    monkeypatch.setattr("resqpy.base.concurrency.limited.GRACE_S", 0.05)
    project = make_project(initializers__hangs=HANGS.format(method=method, swallows=swallows))
    with pytest.raises(HookTimeout, match=f"'hangs': its {method}"):
        await Process(project, worker=False).start()
