"""Whatever stands under the keys of a dead worker holds up no rescue; nothing of it is lost in silence."""

from __future__ import annotations

from typing import Any

import pytest

from resqpy.base import job_records
from resqpy.engine.inspect.inspector import Inspector
from resqpy.store import workers
from tests.engine.test_rescue import INCARNATION, JOB, Scene, die_with, the_entry, worker_id
from tests.support.junk import KINDS, put_junk

ID = str(worker_id(1))
OTHER = b'{"class":"Other","queue":"mail","args":[]}'

# The keys of one worker that we write, and their kinds.
OWN = {
    f"resque:worker:{ID}": "string",
    f"resque:resqpy:held:{ID}": "string",
    f"resque:resqpy:job_locks:{ID}": "hash",
    f"resque:worker:{ID}:started": "string",
    f"resque:stat:processed:{ID}": "string",
    f"resque:stat:failed:{ID}": "string",
    "resque:worker:ping:" + worker_id(1).name: "string",
}


async def forgotten(redis: Any) -> bool:
    """Nobody dead is known any more."""
    return not await redis.exists("resque:workers", "resque:resqpy:processes")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "string"])
async def test_keys_of_another_kind(redis_url: str, redis: Any, kind: str) -> None:
    """All the others' jobs come back, the dead are forgotten, the junk stays and is told by its key."""
    wrong = [key for key, ours in OWN.items() if ours != kind]
    async with Scene(redis_url) as scene:
        await die_with(scene.store, JOB, OTHER)
        for key in wrong:
            await put_junk(redis, key, kind)
        await scene.look()
        told = "\n".join(str(error) for (error,) in scene.told_of("error"))
    assert await redis.lrange("resque:queue:mail", 0, -1) == [OTHER]
    assert await forgotten(redis)
    assert [await redis.type(key) for key in wrong] == [kind.encode()] * len(wrong)
    assert [key for key in wrong if told.count(f"{key!r} ") != 1] == []


@pytest.mark.parametrize("kind", [None, *(kind for kind in KINDS if kind != "string")])
async def test_bytes_kept_apart_that_are_gone(redis_url: str, redis: Any, kind: str | None) -> None:
    """A failover lost them, or somebody else has made the key: the record fails, and says so."""
    held = f"resque:resqpy:held:{ID}"
    async with Scene(redis_url) as scene:
        await die_with(scene.store, b'{"class":"Echo","args":["\xff"]}', OTHER)
        record = await redis.get(f"resque:worker:{ID}")
        await redis.delete(held)
        if kind is not None:
            await put_junk(redis, held, kind)
        await scene.look()
    failed = job_records.decode_failed(await the_entry(redis))
    assert (failed.exception, failed.job_raw) == ("PayloadError", record)
    assert await redis.lrange("resque:queue:mail", 0, -1) == [OTHER]
    assert await forgotten(redis)


@pytest.mark.parametrize(
    "record",
    [
        b"junk",
        b"\xff",
        b"",
        b"[1]",
        b"7",
        b'{"queue":"mail","run_at":"x","payload":{"class":"A","args":[]}}',
        b'{"queue":"mail","run_at":7,"x":"","payload":{},"worker":"%s"}'
        % worker_id(1).name.encode(),
        b'{"queue":"mail","run_at":"x","payload":{"class":"A","args":[]},"worker":"host:1"}',
    ],
)
async def test_records_that_are_none_of_ours(redis_url: str, redis: Any, record: bytes) -> None:
    """Junk, Ruby's record, that of another worker: to failed with all its bytes, whatever is beside it."""
    async with Scene(redis_url) as scene:
        await die_with(scene.store, JOB, OTHER)
        await redis.set(f"resque:worker:{ID}", record)
        await scene.look()
        [told] = [told for told in scene.told_of("clean_stuck_worker") if told[0] == ID]
    failed = job_records.decode_failed(await the_entry(redis))
    assert failed.exception == "PayloadError"
    assert failed.job_raw == record
    assert told[1]["exception"] == "PayloadError"
    assert await redis.lrange("resque:queue:mail", 0, -1) == [OTHER]
    assert await forgotten(redis)


async def test_one_burial_that_redis_refuses(redis_url: str, redis: Any) -> None:
    """It is told once, and the others are rescued all the same."""
    async with Scene(redis_url) as scene:
        await die_with(scene.store, JOB)
        other = worker_id(1, "other123")
        await workers.register(scene.store, "other123", [other], "x")
        await redis.set(
            f"resque:worker:{other}",
            job_records.work_prefix("odd", "2026") + OTHER + job_records.work_suffix(other.name),
        )
        await redis.zadd("resque:resqpy:processes", {"other123": 1})
        await redis.set("resque:queue:mail", "no list")
        await redis.set("resque:failed", "no list")
        for _ in range(2):
            await scene.look()
        assert len(scene.told_of("error")) == 1
        assert await redis.lrange("resque:queue:odd", 0, -1) == [OTHER]
        assert await redis.zrange("resque:resqpy:processes", 0, -1) == [INCARNATION.encode()]
        await redis.delete("resque:queue:mail", "resque:failed")
        await scene.look()
    assert await redis.lrange("resque:queue:mail", 0, -1) == [JOB]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "string"])
async def test_a_worker_is_cleaned_up_by_hand(redis_url: str, redis: Any, kind: str) -> None:
    """The same where somebody asks for it: what is of another kind stays."""
    async with Scene(redis_url) as scene:
        await die_with(scene.store, JOB)
        for key in OWN:
            await put_junk(redis, key, kind)
        assert await Inspector(scene.store).force_clean_worker(ID) is None
    assert not await redis.exists("resque:workers")
    ours = [key for key, own in OWN.items() if own == kind]
    assert await redis.exists(*OWN) == len(OWN) - len(ours)
