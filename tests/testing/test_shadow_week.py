"""A class runs in the shadow of Ruby's for a week, in minutes: by the test clock."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from resqpy import api
from resqpy.diagnosis.shadowing import compare
from resqpy.store.migrations import ALL, Migration, migrate, migrations
from resqpy.testing import ManualClock, drain, find_enqueued

HOURS = 24 * 7
SHADOW = Migration("billing", "ruby", 0, over=100, max_errors=500, max_ms=0, shadow=ALL)
JOBS = [f'{{"class":"Invoice::Send","queue":"billing","args":[{hour}]}}' for hour in range(HOURS)]

TASK = """
from resqpy import api, current_run, task

@task(name="Invoice::Send", queue="billing", shadow=True, retry=3, plugins=["JobLock"])
async def send(number: int, /) -> None:
    '''Send an invoice; of those of the sixth day each fails, but not in Ruby.'''
    await api.tasks.enqueue("count_words", {"text": f"invoice {number}"})
    await api.tasks.enqueue_in(86_400_000, "again", {"left": number})
    await api.tracked.create("whoAmI")
    if not current_run.get().shadow:
        await api.redis.call("RPUSH", "mails", number)
    if 120 <= number < 144:
        raise ValueError(f"number {number}")
"""


@pytest.fixture
def resqpy_root(resqpy_root: Path) -> Path:
    """The project's folder."""
    (resqpy_root / "tasks" / "invoices.py").write_text(TASK)
    return resqpy_root


class Ruby:
    """A worker of Ruby, as far as it can be seen: what it did, and what failed."""

    def __init__(self) -> None:
        self.did: list[bytes] = []

    async def work(self) -> None:
        """All that waits for it. Each tenth job fails."""
        call = api.redis.call
        while raw := await call("LPOP", "resque:queue:billing.ruby"):
            self.did.append(raw)
            payload = json.loads(raw)
            if payload["args"][0] % 10 == 9:
                entry: dict[str, Any] = {
                    "failed_at": time.strftime("%Y/%m/%d %H:%M:%S UTC", time.gmtime()),
                    "payload": payload, "exception": "RuntimeError", "error": "no paper", "backtrace": [],
                    "worker": "ruby:1:billing.ruby", "queue": "billing.ruby",
                }  # fmt: skip
                await call("RPUSH", "resque:failed", json.dumps(entry))


async def test_a_week(resqpy_clock: ManualClock) -> None:
    """An invoice each hour, which Ruby's scheduler planned. Ruby does all of them, once, with their bytes."""
    store, ruby, begin_ms = api.resque.store, Ruby(), resqpy_clock.now_ms()
    await migrate(store, "Invoice::Send", SHADOW)
    for hour, job in enumerate(JOBS):
        second = begin_ms // 1000 + 3600 * (hour + 1)
        await api.redis.call("RPUSH", f"resque:delayed:{second}", job)
        await api.redis.call("ZADD", "resque:delayed_queue_schedule", second, second)

    for hour in range(HOURS):
        await resqpy_clock.advance(timedelta(hours=1))
        assert (await drain("billing")).jobs == []
        if hour % 6 == 5:  # it is not always there
            await ruby.work()
    rule = (await migrations(store))["Invoice::Send"]
    seen = await compare(api.resque.inspector, "Invoice::Send", rule)

    assert ruby.did == [each.encode() for each in JOBS]
    assert await find_enqueued() == []
    assert await api.redis.call("EXISTS", "mails") == 0
    assert await api.tracked.count() == 0
    assert (rule.count("theirs"), rule.count("copied"), seen.ended, seen.lost) == (
        HOURS,
        HOURS,
        HOURS,
        0,
    )
    ours = {*range(120, 144)}
    theirs = {*range(9, HOURS, 10)}
    assert {int(each.args.strip("[]")) for each in seen.only_here} == ours - theirs
    assert {int(each.args.strip("[]")) for each in seen.only_there} == theirs - ours
    assert seen.agreed == (HOURS - len(ours | theirs), len(ours & theirs))
    wanted = ("count_words", "low"), ("again", "default"), ("whoAmI", "default")
    assert seen.jobs == dict.fromkeys(wanted, HOURS)
    assert {each.error for each in seen.only_here} >= {"ValueError: number 120"}
    assert await api.redis.call("LLEN", "resque:failed") == len(theirs)
    assert await api.redis.call("EXISTS", "resque:stat:processed", "resque:stat:failed") == 0
    assert (
        [k async for k in _keys("resque:*lock*")]
        == [k async for k in _keys("resque:*retry*")]
        == []
    )


async def _keys(pattern: str) -> Any:
    cursor: Any = b"0"
    while True:
        cursor, some = await api.redis.call("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
        for each in some:
            yield each
        if cursor == b"0":
            return
