"""At most so many jobs of a task run at once, or of each value of an input: jobs over the limit are parked, and
handed on by whatever ends one.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from resqpy import InvalidTask, Limit, Queue, Rate, Resque, StoreError, UsageError
from resqpy.base import codec
from resqpy.base.activejob import WRAPPER
from resqpy.base.model import KeyLimit, WorkerId
from resqpy.engine.definition import define
from resqpy.engine.worker import identity, pool
from resqpy.store import limits, queues, workers
from resqpy.store.exchange import EndCommands, Exchanged
from tests.engine.test_limits import LAZY, SLOTS, Counted, Desk
from tests.support.waiting import wait_for
from tests.support.working import working

PARKED = "resque:resqpy:limits:parked"


def raw(number: int, task: str = "C", queue: str = "q", **inputs: Any) -> bytes:
    """A job's bytes."""
    args = json.dumps({"n": number, **inputs}, separators=(",", ":"))
    return f'{{"class":"{task}","queue":"{queue}","args":[{args}]}}'.encode()


def numbers(exchanged: Exchanged) -> list[int]:
    """The jobs that were taken."""
    return [json.loads(each.raw or b"")["args"][0]["n"] for each in exchanged.taken]


@pytest.fixture
async def desk(redis_url: str, redis: Any) -> AsyncIterator[Desk]:
    """Exchanges of ten slots."""
    made = Desk(redis_url)
    yield made
    await made.exchange.close()
    await made.store.close()


async def put(redis: Any, *jobs: bytes, queue: str = "q") -> None:
    """Enqueue bytes."""
    await redis.sadd("resque:queues", queue)
    await redis.rpush(f"resque:queue:{queue}", *jobs)


def ends(exchanged: Exchanged, first: int = 0) -> list[EndCommands]:
    """The ends of all jobs that an exchange took, whose slots begin at one."""
    return [
        EndCommands(SLOTS[first + each.slot].worker_id, each.claim.beginning, "p")
        for each in exchanged.taken
    ]


# -- in the step that takes a job --


async def test_what_is_over_the_limit_is_parked_once(desk: Desk, redis: Any) -> None:
    """With its bytes, in its order; other tasks of the queue run, whatever waits before them."""
    await limits.announce(desk.store, {"C": [Limit(2)], "D": []})
    await put(redis, *map(raw, range(5)), raw(7, "D"))

    first = await desk([], SLOTS, ["q"])
    second = await desk([], SLOTS[4:], ["q"])

    assert (numbers(first), numbers(second), second.nothing) == ([0, 1, 7], [], True)
    assert await redis.lrange("resque:resqpy:limits:jobs:1:C:q", 0, -1) == [*map(raw, range(2, 5))]
    assert await redis.exists("resque:queue:q") == 0
    assert await redis.zrange(PARKED, 0, -1) == [b"C\nq"]
    assert await redis.smembers("resque:resqpy:limits:slots:C") == {
        each.worker_id.encode() for each in SLOTS[:2]
    }


async def test_the_end_of_a_job_hands_the_next_on(desk: Desk, redis: Any) -> None:
    """In the same exchange, in their order, before what was enqueued later; at the end nothing is left of it."""
    await limits.announce(desk.store, {"C": [Limit(1)]})
    await put(redis, *map(raw, range(3)))
    taken = await desk([], SLOTS[:2], ["q"])
    await put(redis, raw(3))
    order = numbers(taken)
    while taken.taken:
        taken = await desk(ends(taken), SLOTS[:1], ["q"])
        order += numbers(taken)

    assert order == [0, 1, 2, 3]
    assert await redis.get("resque:stat:processed") == b"4"
    assert sorted(await redis.keys("resque:resqpy:limits*")) == [b"resque:resqpy:limits"]


async def test_a_success_without_an_end_hands_on_too(desk: Desk, redis: Any) -> None:
    """Where the record of the run would be replaced by that of the next job."""
    await limits.announce(desk.store, {"C": [Limit(1)]})
    await put(redis, *map(raw, range(2)))
    (one,) = (await desk([], SLOTS[:2], ["q"])).taken

    after = await desk([], [], ["q"], succeeded={one.claim.beginning: [SLOTS[0]]})

    assert (numbers(after), after.void) == ([1], [])
    assert await redis.scard("resque:resqpy:limits:slots:C") == 1


async def test_each_value_has_its_own_limit(desk: Desk, redis: Any) -> None:
    """One that is at its limit delays no other; a text and a number that look the same are one."""
    await limits.announce(desk.store, {"C": [Limit(2, per="a")]})
    jobs = [
        raw(0, a=1),
        raw(1, a=1),
        raw(2, a=1),
        raw(3, a="1"),
        raw(4, a=2),
        raw(5),
        raw(6, a=None),
        raw(7),
    ]
    await put(redis, *jobs, raw(8, a=[1]), raw(9, a=2**53), raw(10, a=2**53 + 8), raw(11, a=2.5))

    taken = await desk([], SLOTS, ["q"])

    assert numbers(taken) == [0, 1, 4, 5, 6, 8, 9, 11]
    found = await limits.limits(desk.store)
    assert {key: dict(each.parked) for key, each in found.items() if each.parked} == {
        "C:a=1": {"q": 2},
        "C:a=": {"q": 1},
        "C:a=?": {"q": 1},
    }


async def test_a_job_of_activejob_counts_for_its_own_class(desk: Desk, redis: Any) -> None:
    """By its arguments, where it has a place, and where it has a name."""
    await limits.announce(desk.store, {"A": [Limit(1, per="#2")], "B": [Limit(1, per="a")]})
    given = [
        ("A", [1, "x"]),
        ("A", [2, "x"]),
        ("A", [1, "y"]),
        ("B", [{"a": 1}]),
        ("B", [5, {"a": 1}]),
    ]
    wrappers = [{"job_class": name, "arguments": args, "executions": 0} for name, args in given]
    await put(
        redis, *(json.dumps({"class": WRAPPER, "args": [each]}).encode() for each in wrappers)
    )

    taken = await desk([], SLOTS, ["q"])

    seen = [codec.decode_job(each.raw or b"", "q") for each in taken.taken]
    assert [(each.class_name, each.args) for each in seen] == [
        ("A", [1, "x"]), ("A", [1, "y"]), ("B", [{"a": 1}]),
    ]  # fmt: skip


async def test_foreign_spellings(desk: Desk, redis: Any) -> None:
    """Ruby's order, blanks, an escaped class; large jobs, which are not read, share a key; what is none passes."""
    await limits.announce(desk.store, {"C": [Limit(1, per="a")]})
    large = "x" * 70_000
    await put(
        redis,
        b'{"args": [{"n": 1, "a": "k"}], "class": "C"}',
        b'{"class":"\\u0043","args":[{"n":2,"a":"k"}]}',
        raw(3, a="l", text=large),
        raw(4, a="m", text=large),
        b"no job",
        b'{"class":"C","args":"none"}',
    )

    taken = await desk([], SLOTS, ["q"])

    assert len(taken.taken) == 4
    parked = {each.key: each.count for each in await queues.parked(desk.store)}
    assert parked == {"C:a=k": 1, "C:a=?": 1}


async def test_several_limits_all_or_none(desk: Desk, redis: Any) -> None:
    """A job runs when all let it; what waits for one holds no place of another."""
    both = [Limit(3, name="erp"), Limit(1, per="a")]
    await limits.announce(desk.store, {"C": both, "D": [Limit(3, name="erp")]})
    await put(redis, raw(0, a=1), raw(1, a=1), raw(2, a=2), raw(3, "D"), raw(4, "D"), raw(5, a=3))

    first = await desk([], SLOTS, ["q"])
    assert numbers(first) == [0, 2, 3]
    parked = {each.key: each.count for each in await queues.parked(desk.store)}
    assert parked == {"C:a=1": 1, "erp": 2}

    order = numbers(first)
    while first.taken:
        first = await desk(ends(first), SLOTS, ["q"])
        order += numbers(first)
        for key, most in (("erp", 3), ("C:a=1", 1)):
            assert await redis.scard(f"resque:resqpy:limits:slots:{key}") <= most
    assert sorted(order) == [0, 1, 2, 3, 4, 5]
    assert await queues.parked(desk.store) == []


async def test_two_limits_in_both_orders_end(desk: Desk, redis: Any) -> None:
    """What waits for one and then for the other is never moved to and fro for ever."""
    await limits.announce(
        desk.store,
        {
            "C": [Limit(1, name="x"), Limit(1, name="y")],
            "D": [Limit(1, name="y"), Limit(1, name="x")],
        },
    )
    await put(redis, *(raw(n, "CD"[n % 2]) for n in range(40)))
    order: list[int] = []
    taken = await desk([], SLOTS, ["q"])
    for _ in range(100):
        assert len(taken.taken) <= 1
        order += numbers(taken)
        taken = await desk(ends(taken), SLOTS, ["q"])
    assert sorted(order) == [*range(40)]


async def test_an_exchange_looks_at_so_many(desk: Desk, redis: Any) -> None:
    """A queue full of jobs of one key is parked in steps, each of which says that there is more."""
    await limits.announce(desk.store, {"C": [Limit(0)]})
    await put(redis, *(raw(n) for n in range(1500)), raw(7, "D"))

    first = await desk([], SLOTS, ["q"])
    assert (first.taken, first.full, await redis.llen("resque:queue:q")) == ([], True, 501)
    second = await desk([], SLOTS, ["q"])
    assert (numbers(second), second.nothing) == ([7], False)
    assert await redis.llen("resque:resqpy:limits:jobs:1:C:q") == 1500


async def test_many_keys_have_a_turn(desk: Desk, redis: Any) -> None:
    """An exchange looks at so many, and says that there are more."""
    await limits.announce(desk.store, {"C": [Limit(0, per="a")]})
    await put(redis, *(raw(n, a=n) for n in range(1001)))
    await desk([], SLOTS, ["q"])
    await desk([], SLOTS, ["q"])
    await limits.set_limit(desk.store, "C:a=999", 1)
    await limits.give_turn(desk.store, await queues.parked(desk.store))

    first = await desk([], SLOTS, ["q"])
    assert (first.taken, first.full) == ([], True)
    second = await desk([], SLOTS, ["q"])
    assert (numbers(second), second.full) == ([999], False)


async def test_a_turn_that_comes_late_leaves_nothing(desk: Desk, redis: Any) -> None:
    """The leader reads what is parked and gives it turns, which may arrive when the jobs have run or are back in
    their queue. What is parked still has its turn, at the time that it had if there was one.
    """
    await limits.announce(desk.store, {"C": [Limit(0, per="a")]})
    await put(redis, raw(1, a=1), raw(2, a=2), raw(3, a=3))
    await desk([], SLOTS, ["q"])
    seen = sorted(await queues.parked(desk.store), key=lambda each: each.key)
    assert [each.key for each in seen] == ["C:a=1", "C:a=2", "C:a=3"]
    await redis.zadd("resque:resqpy:limits:ready:q", {"C:a=3": 7})
    await queues.put_back(desk.store, seen[0])
    await limits.give_turn(desk.store, seen)
    ready = await redis.zrange("resque:resqpy:limits:ready:q", 0, -1, withscores=True)
    assert ready == [(b"C:a=2", 0), (b"C:a=3", 7)]

    for each in seen[1:]:
        await queues.put_back(desk.store, each)
    await limits.give_turn(desk.store, seen)
    assert await redis.keys("resque:resqpy:limits:ready:*") == []


async def test_a_name_by_hand_and_later_by_the_code(desk: Desk, redis: Any) -> None:
    """It is one limit: a job holds one place of it."""
    await limits.set_limit(desk.store, "C", 2, "C")
    await limits.announce(desk.store, {"C": [Limit(5)]})
    await put(redis, *(raw(n) for n in range(3)))

    assert numbers(await desk([], SLOTS, ["q"])) == [0, 1]


async def test_only_the_limits_that_it_meets_are_read(desk: Desk, redis: Any) -> None:
    """Of hundreds an exchange reads those of its queues, and of each class and key that it meets, once."""
    await limits.announce(desk.store, {f"T{n}": [Limit(9)] for n in range(500)})
    await put(redis, *(raw(n, f"T{n % 2}") for n in range(10)))
    await desk([], SLOTS[:0], ["q"])
    for slots, reads in ((SLOTS[:0], 1), (SLOTS, 6)):
        await redis.config_resetstat()
        taken = await desk([], slots, ["q", *(f"q{n}" for n in range(50))])
        stats = await redis.info("commandstats")
        assert (len(taken.taken), stats["cmdstat_hmget"]["calls"]) == (len(slots), reads)
        assert "cmdstat_hgetall" not in stats


async def test_a_lost_reply_and_a_late_end(desk: Desk, redis: Any) -> None:
    """What was taken is found again and holds its place; an end of another run frees none."""
    await limits.announce(desk.store, {"C": [Limit(1)]})
    await put(redis, *map(raw, range(2)))
    taken = await desk([], SLOTS[:2], ["q"])
    found = await desk([], SLOTS[:2], [], recover=True)
    late = [EndCommands(SLOTS[0].worker_id, b'{"queue":"q","run_at":"other"', "p")]

    assert [each.raw for each in found.taken] == [each.raw for each in taken.taken]
    again = await desk(late, SLOTS[2:], ["q"])
    assert (again.void, numbers(again)) == ([0], [])


async def test_a_record_that_somebody_took_away(desk: Desk, redis: Any) -> None:
    """Ruby's pruning, say: its place is free for the next; so is that of a worker that runs another job."""
    await limits.announce(desk.store, {"C": [Limit(2)]})
    await put(redis, *map(raw, range(3)))
    await desk([], SLOTS[:3], ["q"])
    await redis.delete(f"resque:worker:{SLOTS[0].worker_id}")
    await redis.set(f"resque:worker:{SLOTS[1].worker_id}", '{"queue":"q","run_at":"x"}')
    await put(redis, *map(raw, range(3, 5)))

    again = await desk([], SLOTS[4:], ["q"])
    assert numbers(again) == []  # the place is found, those that were parked have the first turn
    assert again.full
    assert numbers(await desk([], SLOTS[4:], ["q"])) == [2, 3]


async def test_all_places_of_a_run_that_is_gone_are_free(desk: Desk, redis: Any) -> None:
    """Whichever limit is met first, and what waits for another has its turn; a worker that goes on with a job
    of other limits holds none of its old places.
    """
    both, one = [Limit(1), Limit(1, name="erp")], [Limit(1, name="erp")]
    await limits.announce(desk.store, {"C": both, "E": one, "D": [Limit(9)]})
    await put(redis, raw(0), raw(1), raw(2, "E"))
    assert numbers(await desk([], SLOTS[:2], ["q"])) == [0]
    await redis.delete(f"resque:worker:{SLOTS[0].worker_id}")
    await put(redis, raw(3))
    await desk([], SLOTS[2:3], ["q"])

    assert await redis.exists("resque:resqpy:limits:slots:C", "resque:resqpy:limits:slots:erp") == 0
    assert await redis.zrange("resque:resqpy:limits:ready:q", 0, -1) == [b"C", b"erp"]

    await put(redis, raw(7, "D", queue="r"), queue="r")
    assert numbers(await desk([], SLOTS[5:6], ["r"])) == [7]
    await redis.sadd(
        "resque:resqpy:limits:slots:C", SLOTS[5].worker_id
    )  # as an older version left it
    await redis.delete("resque:resqpy:limits:looked:C")
    assert numbers(await desk([], SLOTS[6:], ["q"])) == [1]
    assert await redis.scard("resque:resqpy:limits:slots:D") == 1


async def test_the_limit_of_the_queue_holds_too(desk: Desk, redis: Any) -> None:
    """Also for jobs that come from where they were parked."""
    await limits.announce(desk.store, {"C": [Limit(1)]})
    await limits.limit_running(desk.store, "q", 2)
    await put(redis, raw(0), raw(1), raw(2, "D"), raw(3, "D"))

    first = await desk([], SLOTS, ["q"])
    assert numbers(first) == [0, 2]
    after = await desk(ends(first)[:1], SLOTS[3:], ["q"])
    assert numbers(after) == [1]
    assert await redis.scard("resque:resqpy:limits:holders:q") == 2


async def test_a_paused_queue_hands_nothing_on(desk: Desk, redis: Any) -> None:
    """Until it is resumed."""
    await limits.announce(desk.store, {"C": [Limit(1)]})
    await put(redis, raw(0), raw(1))
    first = await desk([], SLOTS, ["q"])
    await redis.set("resque:pause:queue:q", "true")

    assert numbers(await desk(ends(first), SLOTS, ["q"])) == []
    await redis.delete("resque:pause:queue:q")
    assert numbers(await desk([], SLOTS, ["q"])) == [1]


async def test_a_list_that_is_none(desk: Desk, redis: Any) -> None:
    """A job that can't be parked stays in its queue, and the queue is reported."""
    await limits.announce(desk.store, {"C": [Limit(0)]})
    await put(redis, raw(0))
    await redis.set("resque:resqpy:limits:jobs:1:C:q", "x")

    exchanged = await desk([], SLOTS, ["q"])

    assert [queue for queue, _ in exchanged.broken] == ["q"]
    assert await redis.lrange("resque:queue:q", 0, -1) == [raw(0)]


# -- what is said and set --


async def test_what_the_code_says_and_what_was_set(redis_url: str, redis: Any) -> None:
    """By hand wins, also for one key, and survives a start; a task without limits any more leaves nothing."""
    async with Resque(redis_url) as resque:
        assert await limits.announce(resque.store, {"C": [Limit(4), Limit(2, name="erp")], "D": []})
        assert not await limits.announce(resque.store, {"D": []})
        assert await resque.set_limit("C", 1) == 4
        assert await resque.set_limit("C=x", 0) == 1
        await limits.announce(resque.store, {"C": [Limit(5), Limit(2, name="erp")]})
        assert await resque.limits() == {
            "C": KeyLimit(1, tasks=("C",), by_hand=True),
            "C=x": KeyLimit(0, tasks=("C",), by_hand=True),
            "erp": KeyLimit(2, tasks=("C",)),
        }
        assert await resque.set_limit("C", None) == 1
        assert (await resque.limits())["C"] == KeyLimit(5, tasks=("C",))
        await limits.announce(resque.store, {"C": [Limit(2, name="erp")]})
        await resque.set_limit("C=x", None)
        assert [*await resque.limits()] == ["erp"]
        await limits.announce(resque.store, {"C": []})
        assert await resque.set_limit("mail", 0, task="mail") is None
        assert await resque.limits() == {"mail": KeyLimit(0, tasks=("mail",), by_hand=True)}
        await resque.set_limit("mail", None, task="mail")
    assert await redis.keys("resque:resqpy:limits*") == []


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: Limit(-1), "-1"),
        (lambda: Limit(most=True), "True"),
        (lambda: Limit(1, name="a=b"), "'a=b'"),
        (lambda: Limit(1, name="{x"), "'{x'"),
        (lambda: Limit(1, per=""), "''"),
    ],
)
def test_limits_that_are_none(made: Any, words: str) -> None:
    """They are refused, with what is wrong."""
    with pytest.raises(UsageError, match=words.replace("{", r"\{")):
        made()


# -- what is parked, for everybody else --


@pytest.mark.parametrize(
    ("task", "made"),
    [
        ("a=b", Limit(1)),
        ("a\tb", Limit(1)),
        ("a\nb", Rate(1)),
        ("a{b", Limit(1)),
        ("a", Limit(1, per="b=c")),
        ("x" * 200, Limit(1, per="b")),
    ],
)
def test_a_task_whose_name_can_not_be_that_of_a_limit(task: str, made: Any) -> None:
    """Nobody would obey it, so it is refused; with a name of its own it is fine."""
    with pytest.raises(InvalidTask, match="give it a `name`"):
        define(task, print, limit=made)
    assert define(task, print, limit=replace(made, name="fine")).limit[0].name == "fine"


async def test_a_shut_gives_no_turn(desk: Desk, redis: Any) -> None:
    """What is parked keeps its times, whoever shuts or changes another limit."""
    await limits.announce(desk.store, {"C": [Limit(0)], "D": [Limit(0)]})
    await put(redis, raw(0), raw(1, "D"))
    await desk([], SLOTS, ["q"])
    await redis.zadd("resque:resqpy:limits:ready:q", {"C": 7, "D": 8})

    await limits.shut(desk.store, "C", 60_000)
    await limits.announce(desk.store, {"E": [Limit(0)]})
    assert await redis.zrange("resque:resqpy:limits:ready:q", 0, -1, withscores=True) == [
        (b"C", 7), (b"D", 8),
    ]  # fmt: skip
    await limits.set_limit(desk.store, "C", 3)
    await limits.announce(desk.store, {"E": [Limit(1)]})
    assert await redis.zscore("resque:resqpy:limits:ready:q", "D") == 8
    assert await redis.zscore("resque:resqpy:limits:ready:q", "C") == 0


async def test_what_is_put_back_is_never_doubled(desk: Desk, redis: Any) -> None:
    """Also where its queue is no list, or its index is of another type."""
    await limits.announce(desk.store, {"C": [Limit(0)]})
    await put(redis, *(raw(n) for n in range(5)))
    await desk([], SLOTS, ["q"])
    [parked] = await queues.parked(desk.store)
    await redis.set("resque:queue:q", "x")
    with pytest.raises(StoreError):
        await queues.put_back(desk.store, parked)
    await redis.delete("resque:queue:q")
    assert await redis.llen("resque:resqpy:limits:jobs:1:C:q") == 5
    await redis.delete(PARKED)
    await redis.set(PARKED, "x")
    assert await queues.put_back(desk.store, parked, 2) == (2, 3)
    assert await queues.put_back(desk.store, parked) == (3, 0)
    assert await redis.lrange("resque:queue:q", 0, -1) == [raw(n) for n in range(5)]


async def test_verbs_include_what_is_parked(desk: Desk, redis: Any, redis_url: str) -> None:
    """Counted, listed, found, moved, deleted: as jobs of their queue, before the others."""
    await limits.announce(desk.store, {"C": [Limit(1, per="a")]})
    await put(redis, *(raw(n, a=n % 2) for n in range(6)))
    await desk([], SLOTS, ["q"])
    await put(redis, raw(6, a=0), raw(7, "D"))

    async with Resque(redis_url) as resque, Queue(redis_url) as queue:
        assert (await resque.length("q"), await resque.lengths()) == (6, {"q": 6})

        def shown(jobs: Any) -> list[int]:
            return [job.args[0]["n"] for job in jobs]

        assert sorted(shown(await resque.queued("q"))[:4]) == [2, 3, 4, 5]
        assert shown(await resque.queued("q"))[4:] == [6, 7]
        assert shown(await resque.queued("q", 3, 4))[1:] == [6]
        assert sorted(shown(await resque.queued("q", 0, -1))) == [2, 3, 4, 5, 6, 7]
        assert sorted(shown([job async for job in resque.each_queued("q")])) == [2, 3, 4, 5, 6, 7]
        assert await queue.delete("q", "C", [{"n": 4, "a": 0}]) == 1
        assert await queue.move("q", "r", "C", [{"n": 3, "a": 1}]) == 1
        assert await redis.lrange("resque:queue:r", 0, -1) == [raw(3, queue="r", a=1)]
        assert await queue.del_by_function("q", "C") == 3
        assert await resque.lengths() == {"q": 1, "r": 1}
        assert await queues.parked(desk.store) == []


async def test_a_queue_is_deleted_with_what_is_parked(
    desk: Desk, redis: Any, redis_url: str
) -> None:
    """And what is put back is a plain queue again, in its order."""
    await limits.announce(desk.store, {"C": [Limit(0, per="a")]})
    await put(redis, *(raw(n, a=1) for n in range(1200)))
    await desk([], SLOTS, ["q"])
    await desk([], SLOTS, ["q"])
    async with Resque(redis_url) as resque, Queue(redis_url) as queue:
        assert await redis.exists("resque:queue:q") == 0
        assert await resque.put_back_parked() == 1200
        assert await redis.lrange("resque:queue:q", 0, -1) == [raw(n, a=1) for n in range(1200)]
        assert [*await redis.keys("resque:resqpy:limits:*")] == []
        await desk([], SLOTS, ["q"])
        assert await queue.del_queue("q") == 1200
        assert await resque.lengths() == {}


# -- by workers --


async def test_workers_obey_and_hand_on(redis_url: str, redis: Any) -> None:
    """Never more than the limit, in two processes; not even an attempt is counted."""
    task = Counted()
    jobs = {"C": {"perform": task, "limit": Limit(3)}}
    async with (
        Queue(redis_url) as queue,
        working(redis_url, jobs, "q", slots=4, **LAZY) as one,
        working(redis_url, jobs, "q", slots=4, **LAZY) as other,
    ):
        await queue.enqueue_many([("q", "C", [n]) for n in range(200)])
        await wait_for(lambda: task.now == 3)
        await one.until_quiet()
        await other.until_quiet()
        async with Resque(redis_url) as resque:
            found = (await resque.limits())["C"]
        assert (len(found.running), found.parked) == (3, {"q": 197})
        task.go_on.set()
        await wait_for(lambda: task.done == 200)
    assert task.most == 3
    assert await redis.get("resque:stat:processed") == b"200"
    assert await redis.exists("resque:failed") == 0


async def test_a_limit_that_is_raised_or_removed_by_hand(redis_url: str, redis: Any) -> None:
    """What is parked runs at once."""
    task = Counted()
    jobs = {"C": {"perform": task, "limit": Limit(1, per="a")}}
    async with (
        Queue(redis_url) as queue,
        Resque(redis_url) as resque,
        working(redis_url, jobs, "q", slots=9, **LAZY) as w,
    ):
        await queue.enqueue_many([("q", "C", [{"a": 1, "n": n}]) for n in range(9)])
        for key, most, running in (
            ("C:a=1", 2, 2),
            ("C:a", 5, 2),
            ("C:a=1", 5, 5),
            ("C:a=1", 9, 9),
        ):
            await resque.set_limit(key, most)
            await wait_for(lambda running=running: task.now == running)  # type: ignore[misc]
            await w.until_quiet()
            assert task.now == running
        task.go_on.set()
        await w.until(9)


async def test_code_without_the_limit_lets_go(redis_url: str, redis: Any) -> None:
    """A process that starts with new code takes what the old one parked."""
    task, free = Counted(), Counted()
    free.go_on.set()
    old = {"C": {"perform": task, "limit": Limit(0)}}
    async with Queue(redis_url) as queue:
        await queue.enqueue_many([("q", "C", [n]) for n in range(5)])
        async with working(redis_url, old, "q", **LAZY) as w:
            await w.until_quiet()
            assert len(await queues.parked(queue.store)) == 1
        async with working(redis_url, {"C": free}, "q", rescue_after_s=0.5, heartbeat_s=0.1) as w:
            await w.until(5)
    assert (task.done, free.done) == (0, 5)
    assert await redis.keys("resque:resqpy:limits*") == []


async def test_two_versions_of_the_code(
    redis_url: str, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What starts last says what holds; when the old code has gone, the new code's limit does."""
    monkeypatch.setattr(pool, "_SAY_LIMITS_S", 0.05)
    new, old = {"C": {"perform": Counted(), "limit": Limit(3)}}, {"C": Counted()}

    async def most(number: int | None) -> bool:
        found = await redis.hget("resque:resqpy:limits", "{limit}C")
        return bool((None if found is None else int(found)) == number)

    async with working(redis_url, new, "q", **LAZY):
        assert await most(3)
        async with working(redis_url, old, "q", **LAZY) as w:
            assert w.worker.pool.has_limits
            await wait_for(lambda: most(None))
            await wait_for(lambda: most(3))
        await wait_for(lambda: most(3))
    async with working(redis_url, old, "q", **LAZY):
        assert await most(None)


# -- nobody who knows of them is there --


async def test_whoever_removes_a_worker_frees_its_places(
    desk: Desk, redis: Any, redis_url: str
) -> None:
    """In the same step, with the turn of what is parked: an orderly end, or a clean-up by hand."""
    await limits.announce(desk.store, {"C": [Limit(2), Limit(9, name="n")]})
    await put(redis, *map(raw, range(4)))
    await desk([], SLOTS, ["q"])
    one, two = (WorkerId.parse(each.worker_id) for each in SLOTS[:2])
    await redis.sadd("resque:workers", str(one), str(two))
    await redis.delete(f"resque:worker:{one}")

    assert await workers.leave(desk.store, "abc", [one, two]) == [two]
    assert await redis.smembers("resque:resqpy:limits:slots:n") == {str(two).encode()}
    assert await redis.zrange("resque:resqpy:limits:ready:q", 0, -1) == [b"C"]
    assert numbers(await desk([], SLOTS[4:], ["q"])) == [2]
    async with Resque(redis_url) as resque:
        assert await resque.force_clean_worker(str(two)) is not None
    assert numbers(await desk([], SLOTS[5:], ["q"])) == [3]
    assert await redis.hlen("resque:resqpy:limits:holds") == 2


async def test_what_nobody_would_run_goes_back(desk: Desk, redis: Any, redis_url: str) -> None:
    """A process that works another queue, or of an older version, is nobody."""
    await limits.announce(desk.store, {"C": [Limit(0)]})
    await put(redis, *map(raw, range(3)))
    await desk([], SLOTS, ["q"])
    await put(redis, raw(3))
    life = identity.life(1, "q")
    chore = _chore(desk)

    await chore._hand_on(1000.0, [life])
    await chore._hand_on(1100.0, [identity.life(1, "other"), life.replace(b"limits", b"older")])
    await chore._hand_on(1159.0, [])
    assert await redis.llen("resque:queue:q") == 1
    await chore._hand_on(1161.0, [])
    assert await redis.lrange("resque:queue:q", 0, -1) == [*map(raw, range(4))]


async def test_a_holder_that_vanished_gives_its_turn(desk: Desk, redis: Any) -> None:
    """Whoever looks after dead processes sees it, though no run ends."""
    await limits.announce(desk.store, {"C": [Limit(1)]})
    await put(redis, *map(raw, range(2)))
    await desk([], SLOTS[:2], ["q"])
    chore, life = _chore(desk), identity.life(1, "q")
    await chore._hand_on(1.0, [life])
    assert await redis.exists("resque:resqpy:limits:ready:q") == 0
    await redis.delete(f"resque:worker:{SLOTS[0].worker_id}")
    await chore._hand_on(1.0, [life])
    assert await redis.exists("resque:resqpy:limits:holds", "resque:resqpy:limits:slots:C") == 0

    assert numbers(await desk([], SLOTS[3:], ["q"])) == [1]


def _chore(desk: Desk) -> Any:
    from resqpy.engine.scheduler.rescue import RescueChore

    return RescueChore(desk.store, 30, lambda *_: None)
