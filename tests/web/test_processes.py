"""Worker processes of resqpy are ordered to take no more jobs, or to stop, from the console and over the API."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from resqpy.base.clock import iso_utc
from resqpy.engine.worker.identity import life, worker_id
from resqpy.framework.process.process import Process
from resqpy.store import workers
from resqpy.web import changing
from resqpy.web.app import Console
from tests.framework.conftest import MakeProject, files, make_project  # noqa: F401 - fixtures
from tests.support.waiting import PATIENCE_S, wait_for
from tests.web.asking import ApiClient
from tests.web.conftest import Browser, MakeConsole, as_role
from tests.web.test_pages import forms, words


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changing, "_ANSWER_S", PATIENCE_S)


@pytest.fixture
async def process(make_project: MakeProject) -> AsyncIterator[Process]:  # noqa: F811
    """A worker process of two task processors."""
    limits = {
        "tasks.min_task_processors": 2,
        "tasks.max_task_processors": 2,
        "tasks.heartbeat": 200,
    }
    async with Process(make_project(limits), worker=True) as process:
        yield process


async def test_a_process_takes_no_more_jobs_and_stops(
    process: Process, make_console: MakeConsole
) -> None:
    """As an administrator orders it; others see it, but no way to do so. Both orders are noted."""
    async with (
        Browser(make_console(authenticate=as_role("admin"))) as eve,
        Browser(make_console(authenticate=as_role("operator"))) as ann,
    ):
        page = (await eve.get("/workers")).text
        assert "Processes of resqpy" in page
        assert "0 of 2" in page
        [link] = [each for each in page.split('"') if each.startswith("/workers/processes/")]
        assert link not in (await ann.get("/workers")).text
        assert (await ann.get(link)).status_code == 403
        assert (await ann.post(f"{link}/stop", data={})).status_code == 403

        asked = (await eve.get(link)).text
        [[quiet, _], [stop, _]] = forms(asked, "/quiet") + forms(asked, "/stop")
        ordered = await eve.post(quiet, data={})
        assert ordered.headers["location"] == "/workers?done=ordered&n=1"
        assert "quiet" in words((await eve.get("/workers")).text)
        assert process.resque.multi_worker is not None
        assert process.resque.multi_worker.pool.quiet
        wrong = await eve.post(stop, data={"within": "5 parsecs"})
        assert (wrong.status_code, process.stopping) == (400, False)
        await eve.post(stop, data={"within": "5s"})
        await wait_for(lambda: process.stopping)
        audit = words((await eve.get("/audit")).text)
        assert "order quiet process" in audit
        assert "order stop process" in audit
        assert (await eve.post(f"{link}/restart", data={})).status_code == 404


async def test_a_process_is_ordered_over_the_api(process: Process, console: Console) -> None:
    """Its answer is given back."""
    await console.open()
    api = ApiClient(console)
    [found] = (await api("GET /processes", scopes=["read"])).json["data"]
    refused = await api(f"POST /processes/{found['id']}/quiet")
    quiet = await api(f"POST /processes/{found['id']}/quiet", scopes=["admin"])
    nobody = await api("POST /processes/nobody/stop", {}, scopes=["admin"])
    stopped = await api(
        f"POST /processes/{found['id']}/stop", {"timeout_ms": 5000}, scopes=["admin"]
    )
    assert (found["workers"], found["busy"], found["state"]) == (2, 0, "working")
    assert (refused.status, nobody.status) == (403, 404)
    assert quiet.json["answer"]["state"] == "quiet"
    assert stopped.json["answer"]["pid"] == found["pid"]
    await wait_for(lambda: process.stopping)


async def test_a_process_that_does_not_answer(
    make_console: MakeConsole, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be away: that is said, and the order waits for it."""
    monkeypatch.setattr(changing, "_ANSWER_S", 0)
    console = make_console(authenticate=as_role("admin"))
    await console.open()
    now_s, _ = await redis.time()
    ids = [worker_id(1, "away", "*", "app-1")]
    began = iso_utc(now_s * 1_000_000)
    await workers.register(console.resque.store, "away", ids, began, life=life(1, "*", "app-1"))
    await redis.zadd("resque:resqpy:processes", {"away": now_s})
    async with Browser(console) as eve:
        answer = await eve.post("/workers/processes/away/quiet", data={})
        assert answer.status_code == 303, answer.text
        assert answer.headers["location"] == "/workers?done=unanswered&n=1"
        assert "No answer yet" in (await eve.get(answer.headers["location"])).text
    assert 0 < await redis.pttl("resque:resqpy:orders:away") <= 300_000
