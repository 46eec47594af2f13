"""What the exchange does of QueueLock and JobLock when it takes a job, and when its run has ended."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from resqpy.base import codec
from resqpy.base.model import WorkerId
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.store.exchange import (
    FREED,
    HELD,
    NO_SLOTS,
    ClaimedJob,
    ClaimExtension,
    EndCommands,
    Exchange,
    Exchanged,
    SlotRef,
)
from resqpy.store.locks import UNLOCK, JobLockKey, take_job_lock
from tests.support.redis_state import ttls

IDS = [WorkerId(f"h+{n}-abc", "7", "*") for n in (1, 2)]
PLACES = [SlotRef.of(each) for each in IDS]
RULES = "\nboth\tq60\nqueue\tq\njob\t60\n"


class Desk:
    """An exchange that knows the locks of a few tasks."""

    def __init__(self, url: str) -> None:
        self.store = Store(RedisOptions(url))
        self.keys = self.store.keys
        self.exchange = Exchange(self.store, along=ClaimExtension(locks=RULES))
        self.calls = 0

    async def __call__(
        self,
        ended: Sequence[EndCommands] = (),
        free: Sequence[SlotRef] = (),
        *,
        recover: bool = False,
        succeeded: Mapping[bytes, Sequence[SlotRef]] = NO_SLOTS,
        drops: Sequence[tuple[int, Sequence[str]]] = (),
        queues: Sequence[str] = ("q",),
    ) -> Exchanged:
        self.calls += 1
        run_at = f"2026-01-01T00:00:{self.calls % 60:02d}.{self.calls:06d}Z"
        return await self.exchange.run(
            ended, free, [*queues], run_at, recover=recover, succeeded=succeeded, drops=drops
        )


@pytest.fixture
async def desk(redis_url: str) -> AsyncIterator[Desk]:
    """The desk, on the test's Redis."""
    made = Desk(redis_url)
    yield made
    await made.exchange.close()
    await made.store.close()


def job(args: str, name: str = "both") -> bytes:
    """A job whose arguments are spelled so."""
    return f'{{"class":"{name}","queue":"q","args":{args}}}'.encode()


async def take(desk: Desk, redis: Any, raw: bytes, slot: int = 0) -> ClaimedJob:
    """Take this job."""
    await redis.rpush("resque:queue:q", raw)
    (taken,) = (await desk(free=[PLACES[slot]])).taken
    return taken


async def agrees(desk: Desk, redis: Any, raw: bytes) -> bool:
    """Whether the exchange did it; if so, with the keys that the plugins name."""
    args = codec.lock_args(codec.decode_job(raw, "q").args)
    queue, held = desk.keys.queue_lock("both", "q", args), desk.keys.job_lock("both", "q", args)
    await redis.set(queue, "1")
    taken = await take(desk, redis, raw)
    done = taken.claim.locks == FREED | HELD
    assert done or taken.claim.locks == 0
    assert await redis.exists(queue) == (not done), raw
    assert await redis.exists(held) == done, raw
    await desk([EndCommands(str(IDS[0]), taken.claim.beginning, "p", [UNLOCK])])
    assert await redis.exists(held) == 0
    await redis.delete(queue)
    assert await redis.keys("*lock*") == []
    return done


PLAIN = (
    "[]", "[1]", "[-5]", "[0,123456789012345]", '["a b","true 1.5e3"]', "[true,false,null]", '["é€𝄞"]', "[[],{}]",
    '[{"n":1}]', '[{"a":"x","_b2":[1,{"c":null}]}]', '["a:b",{"k":"v"}]', '["[x]"]', '[":",",",{"k":"v"}]',
)  # fmt: skip
OTHER = (
    "[ ]", "[1, 2]", "[1.0]", "[1.5]", "[1e5]", "[1E5]", "[-0]", "[9007199254740993]",
    r'["\u0061"]', r'["a\"b"]', r'["\n"]', '["\x7f"]', '["]","["]', "{}", "null", '{"a":1}',
    '[{"1":1}]', '[{"b":1,"1":2}]', '[{"a":1,"a":2}]', '[{"a":{"a":1}}]', '[{"":1}]', '[{"é":1}]', '[{"a b":1}]',
    '[{":1":1,":1":2}]',
)  # fmt: skip
WHOLE = (
    b'{"class":"both","args":[1],"queue":"q"}',
    b'{"class":"both","args":[1]}',
    b' {"class":"both","queue":"q","args":[1]}',
    b'{"class":"both","queue":"q","id":"x","args":[1]}',
    b'{"class":"both","queue":"q","args":["["],"x":["]"]}',
    b'{"class":"both","queue":"q","args":[1],"class":"both"}',
)


async def test_arguments_that_are_spelled_as_in_javascript(desk: Desk, redis: Any) -> None:
    """What every client writes in the usual case."""
    assert [args for args in PLAIN if not await agrees(desk, redis, job(args))] == []


async def test_other_spellings_are_left_to_the_plugins(desk: Desk, redis: Any) -> None:
    """Where the text of a job does not say how the lock is named."""
    assert [args for args in OTHER if await agrees(desk, redis, job(args))] == []
    assert [raw for raw in WHOLE if await agrees(desk, redis, raw)] == []
    for raw in (job("[1]", "another"), job('[{"n":1,"_task_id":"x"}]')):
        assert (await take(desk, redis, raw, 1)).claim.locks == 0
        await redis.delete(f"resque:worker:{IDS[1]}")
    assert await redis.keys("*lock*") == []


async def test_any_arguments(desk: Desk, redis: Any) -> None:
    """However they are spelled, it is the key of the plugins or none."""
    dice = random.Random(4)
    atoms = (
        0,
        1,
        -7,
        2**53,
        1.5,
        -0.0,
        1e300,
        1e-7,
        True,
        None,
        "",
        "a",
        "1",
        "e1",
        "ü",
        '"',
        "[",
        ":",
        "x y",
    )

    def value(depth: int) -> Any:
        kind = dice.random() if depth else 0.0
        if kind < 0.6:
            return dice.choice(atoms)
        if kind < 0.8:
            return [value(depth - 1) for _ in range(dice.randrange(3))]
        names = dice.choices(("a", "b", "7", "c d", "é", ":"), k=dice.randrange(3))
        return {name: value(depth - 1) for name in names}

    done = 0
    for _ in range(300):
        args = [value(3) for _ in range(dice.randrange(3))]
        spelled = dice.choice(((",", ":"), (", ", ":")))
        text = json.dumps(args, ensure_ascii=dice.random() < 0.5, separators=spelled)
        done += await agrees(desk, redis, job(text))
    assert 30 < done < 270


async def test_what_is_taken_and_how_it_is_written(desk: Desk, redis: Any) -> None:
    """As take_job_lock.lua writes it, and whose run it is."""
    taken = await take(desk, redis, job("[1]", "job"))
    assert taken.claim.locks == HELD
    lock, holder = "resque:workerslock:job:q:[1]", f"resque:resqpy:job_locks:{IDS[0]}"
    seconds, _ = await redis.time()
    value = await redis.get(lock)
    assert seconds + 60 <= int(value) <= seconds + 62
    assert await redis.hgetall(holder) == {lock.encode(): value, b"": taken.claim.run_at.encode()}
    expiries = await ttls(redis)
    assert 59_000 < expiries[lock] <= 60_000
    assert 119_000 < expiries[holder] <= 120_000
    assert (await take(desk, redis, job("[1]", "queue"), 1)).claim.locks == FREED


@pytest.mark.parametrize("lean", [True, False])
async def test_one_of_equal_jobs_holds_it_until_its_end(
    desk: Desk, redis: Any, *, lean: bool
) -> None:
    """The plugin of the other decides what follows; the next may have it in the step that ends this one."""
    await redis.rpush("resque:queue:q", *[job("[1]")] * 3)
    first, second = (await desk(free=PLACES)).taken
    assert (first.claim.locks, second.claim.locks) == (FREED | HELD, FREED)
    if lean:
        reply = await desk(succeeded={first.claim.beginning: PLACES[:1]}, drops=[(1, ())])
    else:
        reply = await desk(
            [EndCommands(str(IDS[0]), first.claim.beginning, "p", [UNLOCK])], PLACES[:1]
        )
    assert [(each.slot, each.claim.locks) for each in reply.taken] == [(0, FREED | HELD)]


async def test_only_the_run_that_has_it_frees_it(desk: Desk, redis: Any) -> None:
    """An end that is repeated, or late, frees nothing of the next run in its slot; a void end frees its own."""
    lock = "resque:workerslock:job:q:[1]"
    first = await take(desk, redis, job("[1]", "job"))
    await redis.rpush("resque:queue:q", job("[1]", "job"))
    again = {"succeeded": {first.claim.beginning: PLACES[:1]}, "drops": [(1, ())]}
    (second,) = (await desk(**again)).taken  # type: ignore[arg-type]
    assert (await desk(**again)).void == [0]  # type: ignore[arg-type]
    late = EndCommands(str(IDS[0]), first.claim.beginning, "p", [UNLOCK])
    assert (await desk([late])).void == [0]
    assert (second.claim.locks, await redis.exists(lock)) == (HELD, 1)
    await redis.delete(f"resque:worker:{IDS[0]}")  # somebody takes it for dead
    assert (await desk([EndCommands(str(IDS[0]), second.claim.beginning, "p", [UNLOCK])])).void == [
        0
    ]
    assert await redis.keys("*lock*") == []


async def test_a_job_that_is_found_has_what_it_had(desk: Desk, redis: Any) -> None:
    """After a lost reply: its lock is not taken anew, and one that is another's by now is not its own."""
    for number, has in ((1, FREED | HELD), (2, FREED)):
        await redis.rpush("resque:queue:q", job(f"[{number}]"))
        await desk(free=PLACES[:1])
        if not has & HELD:
            await redis.set(f"resque:workerslock:both:q:[{number}]", "5")
        await redis.set(
            f"resque:lock:both:q:[{number}]", "of another, which was enqueued meanwhile"
        )
        (found,) = (await desk(free=PLACES[:1], recover=True)).taken
        assert found.claim.locks == has
        assert await redis.exists(f"resque:lock:both:q:[{number}]")
        await desk([EndCommands(str(IDS[0]), found.claim.beginning, "p", [UNLOCK])])
    assert await redis.keys("resque:workerslock*") == [b"resque:workerslock:both:q:[2]"]


async def test_the_lock_of_a_job_of_which_nobody_has_heard(desk: Desk, redis: Any) -> None:
    """The reply was lost, and Ruby has deleted the record: the recovery finds no run that would free it."""
    await take(desk, redis, job("[1]"))
    await redis.delete(f"resque:worker:{IDS[0]}")
    assert await redis.exists("resque:workerslock:both:q:[1]")
    assert (await desk(free=PLACES, recover=True)).taken == []
    assert await redis.keys("*lock*") == []


@pytest.mark.parametrize("name", ["q", 'a"b', "a\\b", "a\tb", "ü"])
@pytest.mark.parametrize("args", ["[1]", f'["{"x" * 70_000}"]', "[1.0]"])
@pytest.mark.parametrize("notes", [("", ""), ("1", ""), ("", "1"), ("1", "1")])
async def test_the_same_is_found_as_was_taken(
    desk: Desk, redis: Any, name: str, args: str, notes: Sequence[str]
) -> None:
    """However its queue is named, however large it is, and whatever is noted meanwhile of an equal job: a lock
    that nobody has freed would stay for an hour, and so would one that it does not know to be its own.
    """
    raw, claims = job(args), []
    await redis.rpush(f"resque:queue:{name}", raw)
    for recover, note in enumerate(notes):
        await redis.hset("resque:resqpy:rescues", codec.digest(raw), note)
        reply = await desk(free=PLACES[:1], queues=[name], recover=bool(recover))
        claims += [each.claim.locks for each in reply.taken]
    assert claims[0] == claims[1]


async def test_the_lock_that_a_plugin_took_is_that_of_its_run(desk: Desk, redis: Any) -> None:
    """An end that is repeated on its way frees nothing of the next run in its slot."""
    lock, worker = "resque:workerslock:both:q:[1]", str(IDS[0])
    key = JobLockKey(lock, desk.keys.job_locks(worker), 60)
    first = await take(desk, redis, job("[1.0]"))
    assert await take_job_lock(desk.store, key, worker, first.claim.beginning)
    end = EndCommands(worker, first.claim.beginning, "p", [UNLOCK])
    for args, by_plugin in (("[1]", False), ("[1.0]", True)):
        await redis.rpush("resque:queue:q", job(args))
        (run,) = (await desk([end], PLACES[:1])).taken
        if by_plugin:
            assert await take_job_lock(desk.store, key, worker, run.claim.beginning)
        assert (await desk([end])).void == [0]
        assert await redis.exists(lock)
        end = EndCommands(worker, run.claim.beginning, "p", [UNLOCK])
    assert (await desk([end])).void == []
    assert await redis.keys("*lock*") == []


async def test_any_number_of_locks_is_freed(desk: Desk, redis: Any) -> None:
    """Who knows what somebody has put there: an end that can't be written would come again for ever."""
    taken = await take(desk, redis, job("[1]"))
    many = {f"other-lock{n}": "v" for n in range(9000)}
    await redis.hset(f"resque:resqpy:job_locks:{IDS[0]}", mapping=many)
    await redis.mset({**many, "other-lock5": "of another"})
    end = EndCommands(str(IDS[0]), taken.claim.beginning, "p", [UNLOCK])
    assert (await desk([end])).void == []
    assert await redis.keys("*lock*") == [b"other-lock5"]


async def test_what_can_t_be_noted_is_not_held(desk: Desk, redis: Any) -> None:
    """A key of another type in the way: the plugin meets it, and says so."""
    await redis.set(f"resque:resqpy:job_locks:{IDS[0]}", "of somebody")
    taken = await take(desk, redis, job("[1]"))
    assert taken.claim.locks == FREED
    assert not await redis.exists("resque:workerslock:both:q:[1]")


async def test_a_job_whose_worker_died_is_left_to_the_plugins(desk: Desk, redis: Any) -> None:
    """But for what is right at once: it may have to wait until it can run alone."""
    raw = job("[1]")
    await redis.hset("resque:resqpy:rescues", codec.digest(raw), "1")
    await redis.set("resque:lock:both:q:[1]", "1")
    taken = await take(desk, redis, raw)
    assert (taken.claim.rescues, taken.claim.locks) == (1, FREED)
    assert await redis.keys("*lock*") == []


async def test_a_run_that_has_lost_its_record_gets_no_lock(desk: Desk, redis: Any) -> None:
    """Its process was taken for dead, and may never free it; its job runs elsewhere."""
    worker, key = str(IDS[0]), JobLockKey("lock", "holder", 60)
    taken = await take(desk, redis, job("[1]", "other"))
    of = desk.store, key, worker, taken.claim.beginning
    await redis.delete(f"resque:worker:{worker}")
    assert not await take_job_lock(*of)
    await redis.set(f"resque:worker:{worker}", taken.claim.beginning.replace(b":01.", b":02."))
    assert not await take_job_lock(*of)
    await redis.set(f"resque:worker:{worker}", taken.claim.beginning + b"{}}")
    assert await take_job_lock(*of)
