"""The exchange script: what it writes, and that asking twice changes nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from resqpy.base import codec, job_records
from resqpy.base.errors import OutcomeUnknown, StoreError, StoreMisconfigured
from resqpy.base.json_rules import read_strict
from resqpy.base.model import WorkerId
from resqpy.embedded import PrivateServer
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.store.exchange import (
    NO_SLOTS,
    ClaimedJob,
    EndCommands,
    Exchange,
    Exchanged,
    SlotRef,
)
from resqpy.store.locks import UNLOCK
from tests.support.junk import KINDS, put_junk
from tests.support.recordings import recorded_values
from tests.support.redis_state import dump

A = WorkerId("h+1-abc", "7", "*")
B = WorkerId("h+2-abc", "7", "*")
PLACES = [SlotRef.of(A), SlotRef.of(B)]
RECORD_A, HOLDER = f"resque:worker:{A}", f"resque:resqpy:job_locks:{A}"


def job(number: int) -> bytes:
    """A job's bytes."""
    return b'{"class":"C","queue":"q","args":[%d]}' % number


class Desk:
    """An exchange whose calls name their time by counting."""

    def __init__(self, url: str, max_payload: int = codec.MAX_PAYLOAD) -> None:
        self.store = Store(RedisOptions(url))
        self.exchange = Exchange(self.store, max_payload)
        self.calls = 0

    async def __call__(
        self,
        ended: Sequence[EndCommands] = (),
        free: Sequence[SlotRef] = (),
        queues: Sequence[str] = ("q",),
        *,
        recover: bool = False,
        succeeded: Mapping[bytes, Sequence[SlotRef]] = NO_SLOTS,
        drops: Sequence[tuple[int, Sequence[str]]] = (),
    ) -> Exchanged:
        self.calls += 1
        run_at = f"2026-01-01T00:00:{self.calls:02d}.000000Z"
        return await self.exchange.run(
            ended, free, list(queues), run_at, recover=recover, succeeded=succeeded, drops=drops
        )

    async def close(self) -> None:
        await self.exchange.close()
        await self.store.close()


@pytest.fixture
async def desk(redis_url: str) -> AsyncIterator[Desk]:
    """An exchange on the test's Redis."""
    made = Desk(redis_url)
    yield made
    await made.close()


def end(
    worker: WorkerId, taken: ClaimedJob, counts: str = "p", *commands: Sequence[Any]
) -> EndCommands:
    """The end of a taken job."""
    return EndCommands(str(worker), taken.claim.beginning, counts, list(commands))


async def test_takes_for_free_slots_in_the_order_of_the_queues(desk: Desk, redis: Any) -> None:
    """Jobs come from the first queue that has any, each with a record that both languages read."""
    await redis.rpush("resque:queue:q", job(1))
    await redis.rpush("resque:queue:r", job(2), job(3))

    exchanged = await desk(free=PLACES, queues=["none", "q", "r"])

    assert [(t.slot, t.claim.queue, t.raw, t.claim.held) for t in exchanged.taken] == [
        (0, "q", job(1), -1),
        (1, "r", job(2), -1),
    ]
    assert exchanged.full
    state = await dump(redis)
    assert json.loads(state[RECORD_A]) == {
        "queue": "q",
        "run_at": "2026-01-01T00:00:01.000000Z",
        "payload": {"class": "C", "queue": "q", "args": [1]},
        "worker": "h+1-abc:7",
    }
    assert state[RECORD_A].encode().startswith(exchanged.taken[0].claim.beginning)
    assert state["resque:queue:r"] == [job(3).decode()]


async def test_nothing_to_take_changes_nothing(desk: Desk, redis: Any) -> None:
    """An exchange on empty queues writes nothing."""
    exchanged = await desk(free=PLACES)

    assert (exchanged.taken, exchanged.full, exchanged.paused) == ([], False, False)
    assert await dump(redis) == {}


async def test_an_end_is_counted_and_its_commands_are_done(desk: Desk, redis: Any) -> None:
    """An end removes its record, counts for all and for its worker, and writes what belongs to it."""
    await redis.rpush("resque:queue:q", job(1), job(2))
    first, second = (await desk(free=PLACES)).taken

    exchanged = await desk(
        [end(A, first), end(B, second, "f", ("RPUSH", "resque:failed", "entry"))]
    )

    assert (exchanged.void, exchanged.unwritten) == ([], [])
    assert await dump(redis) == {
        "resque:stat:processed": "1",
        "resque:stat:failed": "1",
        f"resque:stat:processed:{A}": "1",
        f"resque:stat:failed:{B}": "1",
        "resque:failed": ["entry"],
    }


async def test_the_same_report_twice_counts_once(desk: Desk, redis: Any) -> None:
    """A report that is repeated after a lost reply is void, and what was taken comes again."""
    await redis.rpush("resque:queue:q", job(1), job(2), job(3))
    (first,) = (await desk(free=PLACES[:1])).taken
    report = [end(A, first, "f", ("RPUSH", "resque:failed", "entry"))]
    once = await desk(report, PLACES)
    state = await dump(redis)

    again = await desk(report, PLACES, recover=True)

    assert again.void == [0]
    assert [(t.slot, t.raw, t.claim.beginning) for t in again.taken] == [
        (t.slot, t.raw, t.claim.beginning) for t in once.taken
    ]
    assert await dump(redis) == state


async def test_a_slot_with_a_record_gets_its_job_back_unasked(desk: Desk, redis: Any) -> None:
    """Even without `recover` no record is overwritten: the slot gets the job it has."""
    await redis.rpush("resque:queue:q", job(1), job(2))
    await desk(free=PLACES[:1])

    exchanged = await desk(free=PLACES[:1])

    assert [t.raw for t in exchanged.taken] == [job(1)]
    assert (await dump(redis))["resque:queue:q"] == [job(2).decode()]


async def test_jobs_without_a_slot_go_back_in_their_order(desk: Desk, redis: Any) -> None:
    """What was popped for slots that turn out to be busy stands at the head again."""
    jobs = [job(n) for n in range(6)]
    await redis.rpush("resque:queue:q", *jobs)
    await desk(free=PLACES)

    exchanged = await desk(free=PLACES)

    assert sorted(t.raw or b"" for t in exchanged.taken) == jobs[:2]
    assert await redis.lrange("resque:queue:q", 0, -1) == jobs[2:]


@pytest.mark.parametrize("wrong", ["gone", "another"])
async def test_an_end_is_void_without_its_record(desk: Desk, redis: Any, wrong: str) -> None:
    """An end whose record is gone, or is another's, writes nothing."""
    await redis.rpush("resque:queue:q", job(1))
    (taken,) = (await desk(free=PLACES[:1])).taken
    await redis.delete(RECORD_A)
    if wrong == "another":
        await redis.rpush("resque:queue:q", job(2))
        await desk(free=PLACES[:1])
    before = await dump(redis)

    exchanged = await desk([end(A, taken, "f", ("RPUSH", "resque:failed", "x"))], queues=[])

    assert exchanged.void == [0]
    assert await dump(redis) == before


async def test_a_lock_is_released_even_by_a_void_end(desk: Desk, redis: Any) -> None:
    """UNLOCK frees the locks of its run that are still ours, and leaves another's alone."""
    await redis.hset(HOLDER, mapping={"mine": "1", "lost": "1", "": "then"})
    await redis.mset({"mine": "1", "lost": "2"})
    ghost = EndCommands(str(A), b'{"queue":"q","run_at":"then","payload":', "p", [UNLOCK])

    exchanged = await desk([ghost])

    assert exchanged.void == [0]
    assert await dump(redis) == {"lost": "2"}


@pytest.mark.parametrize(
    ("key", "command"),
    [
        ("resque:failed", ("RPUSH", "resque:failed", "x")),
        ("resque:delayed_queue_schedule", ("ZADD", "resque:delayed_queue_schedule", 1, 1)),
        ("resque:queue:q", ("LPUSH", "resque:queue:q", "x")),
    ],
)
async def test_effects_are_all_written_or_none(
    desk: Desk, redis: Any, key: str, command: Sequence[Any]
) -> None:
    """Where one command can't be done, none is, the job stays on record and its slot gets no other;
    reported again when the trouble is over, it counts.
    """
    await redis.rpush("resque:queue:q", job(1))
    (taken,) = (await desk(free=PLACES[:1])).taken
    await redis.set(key, "not what it should be")
    await redis.rpush("resque:queue:r", job(2))
    before = await dump(redis)
    report = [end(A, taken, "f", ("SADD", "first", "x"), command)]

    refused = await desk(report, PLACES[:1], ["r"])

    assert [index for index, _ in refused.unwritten] == [0]
    assert "WRONGTYPE" in refused.unwritten[0][1]
    assert await dump(redis) == before
    await redis.delete(key)
    written = await desk(report, queues=[])
    assert (written.unwritten, written.void) == ([], [])
    assert "first" in await dump(redis)


async def test_odd_counters_and_locks_stop_nothing(desk: Desk, redis: Any) -> None:
    """Keys of another type than they should be do not stop an exchange half-way."""
    await redis.rpush("resque:queue:q", job(1))
    (taken,) = (await desk(free=PLACES[:1])).taken
    for key in ("resque:stat:processed", f"resque:stat:processed:{A}", "resque:pause-all-workers"):
        await redis.sadd(key, "odd")
    await redis.set(HOLDER, "odd")

    exchanged = await desk([end(A, taken, "p", UNLOCK)], PLACES)

    assert exchanged.void == []
    assert not exchanged.paused
    assert RECORD_A not in await dump(redis)


async def test_out_of_memory_ends_are_still_written(redis_url: str) -> None:
    """A Redis that is full takes no new jobs, but hears of the end of those that run."""
    with PrivateServer() as server:
        desk = Desk(server.url)
        call = desk.store.call
        await call("RPUSH", "resque:queue:q", job(1), job(2))
        first, second = (await desk(free=PLACES)).taken
        await call("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(StoreError, match="OOM"):
            await call("RPUSH", "resque:queue:q", job(3))

        exchanged = await desk(
            [end(A, first), end(B, second, "f", ("RPUSH", "resque:failed", "x"))]
        )

        assert (exchanged.void, exchanged.unwritten) == ([], [])
        assert await call("LRANGE", "resque:failed", 0, -1) == [b"x"]
        await desk.close()


@pytest.mark.parametrize(("value", "paused"), [("true", True), (" TRUE\n", True), ("1", False)])
async def test_paused(desk: Desk, redis: Any, value: str, paused: bool) -> None:
    """`pause-all-workers` is read as Ruby reads it, in the step that would take a job."""
    await redis.rpush("resque:queue:q", job(1))
    await redis.set("resque:pause-all-workers", value)

    exchanged = await desk(free=PLACES)

    assert exchanged.paused is paused
    assert len(exchanged.taken) == (0 if paused else 1)


@pytest.mark.parametrize("value", ["true", "false", "", '{"by":"ann"}'])
async def test_a_paused_queue_gives_no_job(desk: Desk, redis: Any, value: str) -> None:
    """Whatever the key's value, as in Ruby's resque-pause; the others are worked, and nothing is popped."""
    await redis.rpush("resque:queue:q", job(1))
    await redis.rpush("resque:queue:r", job(2))
    await redis.set("resque:pause:queue:q", value)

    exchanged = await desk(free=PLACES, queues=["q", "r"])

    assert [(t.claim.queue, t.raw) for t in exchanged.taken] == [("r", job(2))]
    assert (exchanged.paused, exchanged.broken, exchanged.looked) == (False, [], 2)
    assert await redis.lrange("resque:queue:q", 0, -1) == [job(1)]
    await redis.delete("resque:pause:queue:q")
    assert [t.raw for t in (await desk(free=PLACES[1:], queues=["q", "r"])).taken] == [job(1)]


@pytest.mark.parametrize(
    ("paused", "queue", "gives"),
    [
        ("q", "q^5", False), ("q", "q^-9", False), ("q^5", "q", True), ("q^5", "q^5", False), ("q^5", "q^4", True),
        ("q", "qq", True), ("q", "q^10", True), ("a:b", "a:b", False), ("a:b^1", "a:b^1", False),
        ("ü", "ü^2", False),
    ],
)  # fmt: skip
async def test_a_pause_is_that_of_the_sub_queues(
    desk: Desk, redis: Any, paused: str, queue: str, gives: bool
) -> None:
    """A queue's priorities rest with it; one of them may rest alone."""
    await redis.rpush(f"resque:queue:{queue}", job(1))
    await redis.set(f"resque:pause:queue:{paused}", "true")

    exchanged = await desk(free=PLACES, queues=["other", queue])

    assert bool(exchanged.taken) is gives


async def test_a_pause_of_another_kind_pauses_nothing(desk: Desk, redis: Any) -> None:
    """Somebody else's key, on which Ruby's plugin would fail."""
    await redis.rpush("resque:queue:q", job(1))
    await redis.rpush("resque:pause:queue:q", "x")

    assert len((await desk(free=PLACES)).taken) == 1


async def test_pauses_of_many_queues(desk: Desk, redis: Any) -> None:
    """They are read a hundred at a time, the later ones only if the exchange comes so far."""
    names = [f"q{n:03d}" for n in range(350)]
    resting = {names[n] for n in (0, 99, 100, 101, 199, 200, 349)}
    for name in names:
        await redis.rpush(f"resque:queue:{name}", job(1))
    await redis.mset({f"resque:pause:queue:{name}": "true" for name in resting})
    places = [SlotRef.of(WorkerId(f"h+{n}-abc", "7", "*")) for n in range(400)]
    await redis.config_resetstat()

    first = await desk(free=places[:10], queues=names)
    early = (await redis.info("commandstats"))["cmdstat_mget"]["calls"]
    exchanged = await desk(free=places[10:], queues=names)

    calls = (await redis.info("commandstats"))["cmdstat_mget"]["calls"]
    assert (early, calls) == (1, 5)
    taken = [t.claim.queue for t in [*first.taken, *exchanged.taken]]
    assert taken == [name for name in names if name not in resting]


@pytest.mark.parametrize("jobs", [1, 2, 200])
async def test_no_rule_costs_a_job_nothing(desk: Desk, redis: Any, jobs: int) -> None:
    """Whether any rule holds is asked once an exchange, of whatever size."""
    places = [SlotRef.of(WorkerId(f"h+{n}-abc", "7", "*")) for n in range(jobs)]
    await redis.rpush("resque:queue:q", *[job(n) for n in range(jobs)])
    desk.exchange._incarnation = "abc"
    await redis.hset("resque:resqpy:gates", "abc", 1)
    await desk()
    await redis.config_resetstat()

    exchanged = await desk(free=places)
    assert len(exchanged.taken) == jobs

    stats = await redis.info("commandstats")
    calls = {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}
    once = {"hget": 1, "mget": 1, "hlen": 1, "type": 1}
    assert {name: calls.pop(name) for name in once} == once
    assert set(calls) == {"evalsha", "lpop", "set", "config|resetstat"}
    assert calls["set"] == jobs

    await redis.rpush("resque:queue:q", *[job(n) for n in range(jobs)])
    beginning = exchanged.taken[0].claim.beginning
    await redis.config_resetstat()
    assert len((await desk(succeeded={beginning: places})).taken) == jobs
    stats = await redis.info("commandstats")
    calls = {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}
    assert {name: calls.pop(name) for name in once} == once
    assert (calls["set"], calls["incr"]) == (jobs, jobs)  # each worker's own counter
    assert set(calls) == {"evalsha", "lpop", "set", "incr", "incrby", "config|resetstat"}


async def test_a_broken_queue_is_named_and_the_others_are_worked(desk: Desk, redis: Any) -> None:
    """A queue that is no list is reported; the next one is taken from."""
    await redis.set("resque:queue:q", "no list")
    await redis.rpush("resque:queue:r", job(1))

    exchanged = await desk(free=PLACES, queues=["q", "r"])

    assert [(queue, "WRONGTYPE" in words) for queue, words in exchanged.broken] == [("q", True)]
    assert [t.raw for t in exchanged.taken] == [job(1)]


async def test_a_queue_that_the_acl_forbids_is_a_clear_error(
    redis_server: PrivateServer, redis: Any
) -> None:
    """Redis asks for the right to every key of a script before it runs; we say so."""
    await redis.execute_command(
        "ACL", "SETUSER", "some", "on", ">pw", "+@all", "~resque:worker*", "~resque:stat:*",
        "~resque:pause*", "~resque:resqpy*", "~resque:queue:q",
    )  # fmt: skip
    desk = Desk(redis_server.url.replace("unix://", "unix://some:pw@"))
    try:
        with pytest.raises(StoreMisconfigured, match="EVALSHA"):
            await desk(free=PLACES, queues=["secret", "q"])
        assert (await desk(free=PLACES, queues=["q"])).taken == []
    finally:
        await desk.close()
        await redis.execute_command("ACL", "DELUSER", "some")


# -- what may stand in a record --

POISON = recorded_values("poison") | recorded_values("job")


@pytest.mark.parametrize("name", POISON)
async def test_recorded_payloads_never_break_a_record(desk: Desk, redis: Any, name: str) -> None:
    """Whatever a foreign client left, the record is one that both languages read, and the bytes
    are exact.
    """
    raw = POISON[name]
    await redis.rpush("resque:queue:q", raw)

    (taken,) = (await desk(free=PLACES[:1])).taken

    record = await redis.get(RECORD_A)
    assert taken.raw == raw
    assert isinstance(read_strict(record)["payload"], dict)
    if taken.claim.held >= 0:
        assert await redis.get(f"resque:resqpy:held:{A}") == raw
    else:
        assert job_records.payload_of_work(record) == raw


# -- large jobs --


async def test_a_large_job_is_not_sent_and_not_lost(redis_url: str, redis: Any) -> None:
    """50 MB stay in Redis, also when the reply is lost and asked for again; the digest names them."""
    desk = Desk(redis_url, max_payload=1_000_000)
    raw = b'{"class":"C","args":["' + b"x" * 50_000_000 + b'"]}'
    await redis.rpush("resque:queue:q", raw, job(1))
    desk.exchange.line._reply_timeout_s = 5.0

    first = await desk(free=PLACES)
    again = await desk(free=PLACES, recover=True)

    for taken in (first.taken[0], again.taken[0]):
        assert (taken.raw, taken.claim.held) == (None, len(raw))
        assert taken.claim.sha1 == codec.digest(raw)
    assert (len(first.taken), first.full) == (1, True)
    assert again.taken[1].raw == job(1)
    assert await redis.strlen(f"resque:resqpy:held:{A}") == len(raw)
    await desk.close()


@pytest.mark.parametrize(
    ("size", "most"), [(1_000, 50), (10_000, 6), (60_000, 1), (100_000, 10), (2_000_000, 1)]
)
async def test_an_exchange_is_bounded_in_bytes(
    desk: Desk, redis: Any, size: int, most: int
) -> None:
    """Whatever the jobs' size, Redis looks at 64 KiB and moves 1 MiB at a time, and says that more is
    waiting; none is left out, none leaves the order of its queue.
    """
    raws = [b'{"class":"C","args":["%s",%d]}' % (b"x" * size, number) for number in range(50)]
    for raw in raws:
        await redis.rpush("resque:queue:q", raw)
    free = [SlotRef.of(WorkerId(f"h+{n}", "7", "*")) for n in range(50)]
    taken: list[bytes | None] = []

    while free:
        exchanged = await desk(free=free)
        assert 0 < len(exchanged.taken) <= most
        assert exchanged.full
        taken += [each.raw for each in exchanged.taken]
        free = free[len(exchanged.taken) :]

    assert taken == raws


async def test_small_jobs_before_large_ones_keep_their_order(desk: Desk, redis: Any) -> None:
    """What was popped and is too much for one exchange goes back to the head."""
    sizes = [10, 10, 60_000, 10, 3_000_000, 10, 60_000, 60_000, 10, 20]
    raws = [b'{"class":"C","args":["%s",%d]}' % (b"x" * size, n) for n, size in enumerate(sizes)]
    await redis.rpush("resque:queue:q", *raws)
    free = [SlotRef.of(WorkerId(f"h+{n}", "7", "*")) for n in range(10)]
    taken: list[list[bytes | None]] = []

    while free:
        taken.append([each.raw for each in (await desk(free=free)).taken])
        free = free[len(taken[-1]) :]

    assert [raw for part in taken for raw in part] == raws
    assert [len(part) for part in taken] == [4, 1, 2, 3]


async def test_a_long_list_of_flat_objects_stands_in_its_record(desk: Desk, redis: Any) -> None:
    """Many brackets are not depth: what is valid is shown as it is."""
    raw = codec.encode_job("C", "q", [[{"id": number} for number in range(5_000)]])
    await redis.rpush("resque:queue:q", raw)

    (taken,) = (await desk(free=PLACES[:1])).taken

    assert taken.claim.held == -1
    assert job_records.payload_of_work(await redis.get(RECORD_A)) == raw


async def test_a_record_that_is_not_ours_is_left_alone(desk: Desk, redis: Any) -> None:
    """A slot whose record can't be understood is named, and gets nothing."""
    await redis.set(RECORD_A, "junk")
    await redis.rpush("resque:queue:q", job(1))

    exchanged = await desk(free=PLACES)

    assert exchanged.unusable == [0]
    assert [(t.slot, t.raw) for t in exchanged.taken] == [(1, job(1))]
    assert await redis.get(RECORD_A) == b"junk"


# -- a run that succeeded: its record is replaced in one command --

STANDS = ("its own", "gone", "another run's", "cut short", "Ruby's", "empty", "list", "hash")


async def stand(redis: Any, key: str, what: str, own: bytes) -> None:
    """Put something where the record of a run is expected."""
    texts = {
        "another run's": own.replace(b"2026", b"2025"),
        "cut short": own[: own.index(b"payload")],
        "Ruby's": b'{"queue":"q","run_at":"2026-01-01T00:00:01Z","payload":{"class":"C","args":[]}}',
        "empty": b"",
    }
    if what != "its own":
        await redis.delete(key)
    if what in texts:
        await redis.set(key, texts[what])
    elif what == "list":
        await redis.rpush(key, own)
    elif what == "hash":
        await redis.hset(key, "payload", own)


@pytest.mark.parametrize("first", STANDS)
@pytest.mark.parametrize("second", STANDS)
async def test_replacing_does_what_reporting_and_taking_do(
    redis_url: str, redis: Any, first: str, second: str
) -> None:
    """Whatever stands on the records, and however many jobs wait: the same is written, told and given as
    by a report that looks before it writes. Foreign bytes stay as they are.
    """
    raws = [job(3), b"no job", b'{"class":"C","args":["%s"]}' % (b"x" * 2000), job(6)]
    for waiting in range(len(raws) + 1):
        states, replies = [], []
        for replacing in (True, False):
            await redis.flushdb()
            desk = Desk(redis_url, max_payload=1000)
            await redis.rpush("resque:queue:q", job(1), job(2))
            taken = (await desk(free=PLACES)).taken
            for worker, what in ((A, first), (B, second)):
                key = f"resque:worker:{worker}"
                await stand(redis, key, what, await redis.get(key))
            await redis.rpush("resque:queue:q", *raws[:waiting], b"last")
            await redis.rpop("resque:queue:q")
            beginning = taken[0].claim.beginning
            if replacing:
                reply = await desk(free=[], succeeded={beginning: PLACES})
            else:
                reply = await desk([end(A, taken[0]), end(B, taken[1])], PLACES)
            states.append(await dump(redis))
            replies.append(reply)
            await desk.close()
        assert states[0] == states[1], waiting
        assert replies[0] == replies[1], waiting


async def test_an_end_counts_where_nothing_may_be_taken(redis_url: str, redis: Any) -> None:
    """A pause, a right that is missing, or no queue: the run that succeeded is reported all the same."""
    rights = {
        "": ["+@all", "&*", "~*"],
        "some": ["+@all", "-lpop", "~*"],
        "few": ["+@all", "-set", "~*"],
    }
    for user, rules in rights.items():
        await redis.flushdb()
        desk = Desk(redis_url)
        await redis.rpush("resque:queue:q", job(1), job(2))
        (taken,) = (await desk(free=PLACES[:1])).taken
        succeeded = {taken.claim.beginning: PLACES[:1]}
        if user:
            await redis.execute_command("ACL", "SETUSER", user, "on", ">p", *rules)
            await desk.close()
            desk = Desk(redis_url.replace("://", f"://{user}:p@"))
            desk.calls = 5
        else:
            await redis.set("resque:pause-all-workers", "true")
        reply = await desk(succeeded=succeeded)
        assert (reply.taken, reply.void, bool(reply.broken)) == ([], [], bool(user))
        assert await redis.get(f"resque:stat:processed:{A}") == b"1"
        assert await redis.get("resque:stat:processed") == b"1"
        assert await redis.lrange("resque:queue:q", 0, -1) == [job(2)]
        assert await redis.get(RECORD_A) is None
        await desk.close()
        if user:
            await redis.execute_command("ACL", "DELUSER", user)


@pytest.mark.parametrize("waiting", [0, 1, 2])
async def test_the_end_of_a_success_deletes_keys_if_it_counts(
    desk: Desk, redis: Any, waiting: int
) -> None:
    """Whether a job follows in the slot or not; not where the record is somebody else's by now."""
    await redis.rpush("resque:queue:q", job(1), job(2))
    taken = (await desk(free=PLACES)).taken
    await redis.mset({"one": 1, "two": 2, "other": 3})
    await redis.set(f"resque:worker:{B}", "foreign")
    await redis.rpush("resque:queue:q", "last", *[job(n) for n in range(waiting)])
    await redis.lpop("resque:queue:q")
    reply = await desk(
        succeeded={taken[0].claim.beginning: PLACES},
        drops=[(1, ["one", "two"]), (2, ["other"])],
    )
    assert (reply.void, reply.unwritten, len(reply.taken)) == ([1], [], min(waiting, 1))
    assert await redis.mget("one", "two", "other") == [None, None, b"3"]
    assert await redis.get(f"resque:worker:{B}") == b"foreign"
    assert await redis.get("resque:stat:processed") == b"1"


@pytest.mark.parametrize("waiting", [0, 1])
async def test_a_success_whose_keys_must_not_be_deleted_is_not_written(
    redis_url: str, redis: Any, waiting: int
) -> None:
    """The job stays on its record, its slot gets no other, and the same end is reported again."""
    await redis.execute_command("ACL", "SETUSER", "narrow", "on", ">p", "+@all", "&*", "~resque:*")
    desk = Desk(redis_url.replace("://", "://narrow:p@"))
    await redis.rpush("resque:queue:q", job(1), *[job(2)] * waiting)
    (taken,) = (await desk(free=PLACES[:1])).taken
    before = await redis.get(RECORD_A)
    await redis.set("secret", 1)
    succeeded = {taken.claim.beginning: PLACES[:1]}
    reply = await desk(succeeded=succeeded, drops=[(1, ["secret"])])
    assert (reply.taken, reply.void) == ([], [])
    [(index, words)] = reply.unwritten
    assert (index, "permission" in words) == (0, True), words
    assert await redis.get(RECORD_A) == before
    assert await redis.llen("resque:queue:q") == waiting
    assert await redis.get("resque:stat:processed") is None
    await redis.execute_command("ACL", "SETUSER", "narrow", "~secret")
    reply = await desk([end(A, taken, "p", ("DEL", "secret"))])
    assert (reply.void, reply.unwritten) == ([], [])
    assert await redis.exists("secret", RECORD_A) == 0
    await desk.close()
    await redis.execute_command("ACL", "DELUSER", "narrow")


async def test_slots_of_two_processes_are_not_mixed(desk: Desk) -> None:
    """An exchange names what its slots have in common once."""
    other = SlotRef.of(WorkerId("h+1-abc", "7", "other"))
    with pytest.raises(ValueError, match="several processes"):
        await desk(free=[*PLACES, other])


@pytest.mark.parametrize("host", ["h", "h-1-2", 'h"\\ü', "-1-"])
async def test_a_slot_is_named_by_a_word(desk: Desk, redis: Any, host: str) -> None:
    """The script makes the same id and the same record of it."""
    ids = [WorkerId(f"{host}+resqpy", f"77-{n}-abcdefgh", "a,b") for n in (1, 10)]
    refs = [SlotRef.of(each, f"-{n}-") for each, n in zip(ids, (1, 10), strict=True)]
    await redis.rpush("resque:queue:q", job(1), job(2))
    await desk(free=refs)
    for each in ids:
        record = await redis.get(f"resque:worker:{each}")
        assert record.endswith(job_records.work_suffix(each.name))
        assert job_records.decode_own_work(str(each), record) is not None


async def test_two_processes_share_a_queue(redis_url: str, redis: Any) -> None:
    """Two exchanges at the same time take each job once."""
    desks = [Desk(redis_url), Desk(redis_url)]
    await redis.rpush("resque:queue:q", *map(job, range(200)))
    taken: list[bytes] = []

    async def work(desk: Desk, worker: WorkerId) -> None:
        ended: list[EndCommands] = []
        while True:
            exchanged = await desk(ended, [SlotRef.of(worker)])
            if not exchanged.taken:
                return
            taken.extend(t.raw or b"" for t in exchanged.taken)
            ended = [end(worker, t) for t in exchanged.taken]

    for desk in desks:
        desk.calls = 10
    await asyncio.gather(work(desks[0], A), work(desks[1], B))

    assert sorted(taken) == sorted(map(job, range(200)))
    assert (await dump(redis))["resque:stat:processed"] == "200"
    for desk in desks:
        await desk.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_junk_where_rescues_are_counted(desk: Desk, redis: Any, kind: str) -> None:
    """Jobs are taken as if none had ever been rescued; what stands there stays."""
    await put_junk(redis, "resque:resqpy:rescues", kind)
    before = await redis.dump("resque:resqpy:rescues")
    await redis.rpush("resque:queue:q", job(1), job(2))

    assert [each.claim.rescues for each in (await desk(free=PLACES)).taken] == [0, 0]
    assert await redis.dump("resque:resqpy:rescues") == before


async def test_an_end_that_raises_an_error_holds_up_no_other(desk: Desk, redis: Any) -> None:
    """Its note's number was spoiled, or a right is missing: the first end counts, and jobs are taken."""
    await redis.rpush("resque:queue:q", job(1), job(2), job(3))
    taken = (await desk(free=PLACES)).taken
    await redis.hset("record", mapping={"lock": "mine", "v": "junk"})
    held = ("HOLD", "record", "id", "mine", "4", "note", "locks")
    done = await desk([end(A, taken[0]), end(B, taken[1], "p", held)])
    assert (done.void, done.unwritten) == ([], [])
    assert await redis.hget("record", "ending") == b"note"
    assert await redis.get("resque:stat:processed") == b"2"


async def test_rights_that_end_in_an_end_or_behind_it(
    desk: Desk, redis: Any, redis_url: str
) -> None:
    """What was done is told all the same: the end of another slot."""
    await redis.rpush("resque:queue:q", job(1), job(2), job(3))
    taken = (await desk(free=PLACES)).taken
    rights = ["+@all", "-lpop", "&*", "~resque:*"]
    await redis.execute_command("ACL", "SETUSER", "half", "on", ">p", *rights)
    other = Desk(redis_url.replace("://", "://half:p@"))
    other.calls = 7
    try:
        ended = [end(A, taken[0]), end(B, taken[1], "p", ("RPUSH", "forbidden", "x"))]
        done = await other(ended, [PLACES[0]])
        assert [index for index, _ in done.unwritten] == [1]
        assert [queue for queue, _ in done.broken] == ["q"]
    finally:
        await other.close()
        await redis.execute_command("ACL", "DELUSER", "half")
    assert await redis.get("resque:stat:processed") == b"1"


@pytest.mark.parametrize(
    "reply", [b"62e7c60df387b2adb95ed764e03f20561335efe4", 1, None, b"", [], [1], [b"\xff"], [[]]]
)
async def test_the_reply_to_another_command_is_none(desk: Desk, reply: Any) -> None:
    """Whatever it looks like: what became of the exchange is not known."""
    sent = desk.exchange.send((), PLACES, ["q"], "2026-11-30T00:00:00Z")
    await sent.replies
    mixed_up: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
    mixed_up.set_result([reply])
    request = sent._replace(replies=mixed_up)

    with pytest.raises(OutcomeUnknown, match="the reply to another command"):
        desk.exchange.arrived(request)
    with pytest.raises(OutcomeUnknown, match="the reply to another command"):
        await desk.exchange.answer(request)
