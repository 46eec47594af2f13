"""Failed jobs are listed, removed and retried by their bytes, whoever wrote them."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from resqpy.base.clock import SYSTEM_CLOCK, failed_at_utc
from resqpy.base.errors import NotInFailed, StoreError, UsageError
from resqpy.base.model import FORCED_CLEAN, FailedJob
from resqpy.engine.inspect.inspector import Resque
from resqpy.engine.plugin import Enqueuing, Plugin
from resqpy.store.queues import Guard
from tests.support.inspecting import dumps, failed_entry, round_trips
from tests.support.recordings import recorded_values, replay

FAILED = recorded_values("failed")


@pytest.fixture
async def resque(redis_url: str) -> AsyncIterator[Resque]:
    """Both sides on the test's Redis."""
    async with Resque(redis_url) as both:
        yield both


async def push(redis: Any, *entries: bytes) -> None:
    """Add failed entries."""
    await redis.rpush("resque:failed", *entries)


async def queue_of(redis: Any, name: str = "q") -> list[bytes]:
    """The jobs of a queue."""
    return list(await redis.lrange(f"resque:queue:{name}", 0, -1))


# -- looking --


@pytest.mark.parametrize("name", FAILED)
async def test_entries_of_all_dialects_are_shown(name: str, resque: Resque, redis: Any) -> None:
    """A recorded entry has its bytes; missing keys and a null backtrace do no harm (trap 16)."""
    await push(redis, FAILED[name])

    [entry] = await resque.failed()

    assert entry.raw == FAILED[name]
    assert isinstance(entry.backtrace, list)
    assert entry.queue
    assert await resque.remove_failed(entry) == 1
    assert await resque.failed_count() == 0


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"{}", b"\xff", b'{"payload":5}', b"{"])
async def test_junk_in_the_list_is_shown_and_removed(
    raw: bytes, resque: Resque, redis: Any
) -> None:
    """Ruby's remover leaves "" for a moment; it breaks Node's list, not ours."""
    await push(redis, raw, failed_entry())

    junk, fine = await resque.failed()

    assert (junk.raw, fine.class_name) == (raw, "Boom")
    with pytest.raises(UsageError):
        await resque.retry_and_remove_failed(junk)
    assert await resque.remove_failed(junk) == 1
    assert await resque.failed_count() == 1


async def test_failed_lists_of_the_multi_queue_backend(resque: Resque, redis: Any) -> None:
    """Entries of `<queue>_failed` are counted, paged, retried and removed like the others."""
    await replay(redis, "ruby-03-failure-multiqueue")
    lists = await resque.failed_lists()
    extra = {name: count for name, count in lists.items() if name != "failed"}
    assert extra
    assert all(name.endswith("_failed") for name in extra)
    await push(redis, failed_entry())

    entries = await resque.failed(0, -1)

    assert await resque.failed_count() == sum(extra.values()) + 1 == len(entries)
    assert entries[0].source == "failed"
    assert [entries[-1]] == await resque.failed(-1, -1)
    assert entries[1:3] == await resque.failed(1, 2)
    assert [e async for e in resque.each_failed()] == entries
    assert await resque.retry_and_remove_failed(entries[-1])
    assert await resque.remove_all_failed(class_name="Boom") > 0
    assert await resque.remove_all_failed() >= 0
    assert await resque.failed_count() == 0


async def test_each_failed_bears_removal_while_it_walks(resque: Resque, redis: Any) -> None:
    """Who removes what he sees, all or some of it, sees everything once."""
    await push(redis, *(failed_entry(worker=f"h:{n}:q") for n in range(1600)))
    seen = []

    async for entry in resque.each_failed():
        seen.append(entry.worker)
        if len(seen) % 3 or len(seen) > 1000:
            await resque.remove_failed(entry)

    assert seen == [f"h:{n}:q" for n in range(1600)]


async def test_each_failed_filters(resque: Resque, redis: Any) -> None:
    """By task, exception and queue; one name or several."""
    await push(
        redis,
        failed_entry(exception="E1", queue="a"),
        failed_entry(b'{"class":"Other","args":[]}', queue="b"),
        failed_entry(queue="b"),
    )

    async def found(**choice: Any) -> list[tuple[str | None, str | None]]:
        return [(e.class_name, e.queue) async for e in resque.each_failed(**choice)]

    assert await found(class_name="Boom") == [("Boom", "a"), ("Boom", "b")]
    assert await found(exception="E1") == [("Boom", "a")]
    assert await found(queue=["b", "c"], class_name=["Boom"]) == [("Boom", "b")]
    assert await found(queue=[]) == []


async def test_old_ones_and_those_that_ruby_has_retried(resque: Resque, redis: Any) -> None:
    """Of which Ruby keeps the latter; one whose time can't be read is not old."""
    await push(
        redis,
        failed_entry(queue="old", failed_at="2020/01/01 00:00:00 UTC"),
        failed_entry(queue="odd", failed_at="yesterday"),
        failed_entry(
            queue="retried",
            retried_at="2020/01/01 00:00:00 UTC",
            failed_at="2020/01/01 00:00:00 UTC",
        ),
        failed_entry(queue="new", failed_at=failed_at_utc(SYSTEM_CLOCK.now_ms())),
    )

    async def queues(**choice: Any) -> list[str | None]:
        return [each.queue async for each in resque.each_failed(**choice)]

    assert await queues(older_than=timedelta(days=1)) == ["old", "retried"]
    assert await queues(only_retried=True) == ["retried"]
    assert await resque.remove_all_failed(only_retried=True) == 1
    assert await resque.remove_all_failed(older_than=3_600_000, queue="new") == 0
    assert await resque.remove_all_failed(older_than=3_600_000) == 1
    assert await queues() == ["odd", "new"]


# -- one --


@pytest.mark.parametrize(
    "job",
    [
        b'{"class":"A","args":[1.0,1.0e-05,9007199254740993,18446744073709551616,[],{}],"k":[]}',
        b'{"args":["\\u00e9","\\/","\xe2\x80\xa8","\xf0\x9f\x98\x80"],"class":"A"}',
        b'{"class":"A", "queue" : "q", "args":[ ]}',
    ],
)
async def test_a_retry_keeps_the_exact_bytes(job: bytes, resque: Resque, redis: Any) -> None:
    """Traps 15 and 23: what Node refuses to retry or would change goes back as it was."""
    await push(redis, failed_entry(job))
    [entry] = await resque.failed()
    await resque.remove_failed(b"loads the script")

    with round_trips(resque.store, 1):
        assert await resque.retry_and_remove_failed(entry)

    assert await queue_of(redis) == [job]
    assert await redis.smembers("resque:queues") == {b"q"}
    assert await resque.failed_count() == 0
    with pytest.raises(NotInFailed):
        await resque.retry_and_remove_failed(entry)
    assert await queue_of(redis) == [job]


async def test_a_retry_by_bytes_and_to_another_queue(resque: Resque, redis: Any) -> None:
    """Only what the job says of its queue changes, and only where it says something."""
    raw = failed_entry(b'{"class":"A","queue":"q","args":[1.0],"x":[]}')
    await push(redis, raw, failed_entry())

    assert await resque.retry_and_remove_failed(raw, "other")
    assert await resque.retry_and_remove_failed(failed_entry(), "other")

    assert await queue_of(redis, "other") == [
        b'{"class":"A","queue":"other","args":[1.0],"x":[]}',
        b'{"class":"Boom","args":[1]}',
    ]


async def test_an_entry_without_queue_needs_one(resque: Resque, redis: Any) -> None:
    """The queue of the job counts, else the caller names one."""
    with_queue = failed_entry(b'{"class":"A","queue":"mine","args":[]}', queue=None)
    without = failed_entry(queue=None)
    await push(redis, with_queue, without)

    assert await resque.retry_and_remove_failed(with_queue)
    with pytest.raises(UsageError, match="names no queue"):
        await resque.retry_and_remove_failed(without)
    assert await resque.retry_and_remove_failed(without, "given")
    assert len(await queue_of(redis, "mine")) == len(await queue_of(redis, "given")) == 1


@pytest.mark.parametrize("poison", [b"hello", b"", b'{"class":"A","args":["\xff"]}', b"[1]"])
async def test_unreadable_jobs_go_back_with_their_bytes(
    poison: bytes, resque: Resque, redis: Any
) -> None:
    """They stand in base64 in their entry, even if a foreign client has retried that wrapper."""
    wrapped = dumps({"class": "resqpy.unreadable", "args": [base64.b64encode(poison).decode()]})
    twice = dumps({"class": "resqpy.unreadable", "args": [base64.b64encode(wrapped).decode()]})
    await push(redis, failed_entry(wrapped), failed_entry(twice))

    assert await resque.retry_all_failed() == 2
    assert await queue_of(redis) == [poison, poison]


async def test_kept_bytes_go_back_or_go_away(resque: Resque, redis: Any) -> None:
    """A large unreadable job is kept beside its entry, goes back from there, and is forgotten."""

    def reference(name: str) -> bytes:
        job = {"class": "resqpy.unreadable", "queue": "q", "args": [{"sha1": "x", "kept": name}]}
        return failed_entry(dumps(job))

    await push(redis, reference("a"), reference("b"), reference("gone"))
    await redis.mset({"resque:resqpy:unreadable:a": b"A", "resque:resqpy:unreadable:b": b"B"})
    first, second, lost = await resque.failed()

    assert await resque.retry_and_remove_failed(first)
    assert await resque.remove_failed(second) == 1
    with pytest.raises(NotInFailed, match="are gone"):
        await resque.retry_and_remove_failed(lost)

    assert await queue_of(redis) == [b"A"]
    assert await redis.keys("resque:resqpy:*") == []
    assert await resque.failed() == [lost]


# -- plugins --


class Hooked(Plugin):
    """Notes what it is asked, and forbids the argument "no"."""

    asked: list[tuple[str, Any]]

    def __init__(self) -> None:
        super().__init__()
        self.asked = []

    async def before_enqueue(self, job: Enqueuing) -> bool:
        """Forbid "no"."""
        self.asked.append(("before", job.args[0]))
        return bool(job.args[0] != "no")

    async def after_enqueue(self, job: Enqueuing) -> None:
        """Note."""
        self.asked.append(("after", job.args[0]))


class Guarded(Plugin):
    """Forbids a job while a key exists."""

    def guards(self, keys: Any, job: Enqueuing) -> list[Guard]:
        """One lock for all."""
        return [Guard("lock", keys.named("lock:all"), 60)]


async def test_hooks_and_locks_are_asked(redis_url: str, redis: Any) -> None:
    """A retry is an enqueue for a task's plugins; what they forbid stays in the list."""
    hook = Hooked()
    jobs = {
        "Boom": {"perform": print, "plugins": [hook]},
        "Locked": {"perform": print, "plugins": [Guarded()]},
    }
    async with Resque(redis_url, jobs) as resque:
        await push(
            redis,
            *(failed_entry(dumps({"class": "Boom", "args": [a]})) for a in ("yes", "no")),
            *(failed_entry(dumps({"class": "Locked", "args": [a]})) for a in (1, 2)),
        )
        yes, no, one, two = await resque.failed()

        assert await resque.retry_and_remove_failed(yes) is True
        assert await resque.retry_and_remove_failed(no) is False
        assert await resque.retry_and_remove_failed(one) is True
        assert await resque.retry_and_remove_failed(two) is False

        assert hook.asked == [("before", "yes"), ("after", "yes"), ("before", "no")]
        assert await resque.failed() == [no, two]
        assert len(await queue_of(redis)) == 2


# -- many --


async def test_retry_all_in_the_old_order_in_few_round_trips(resque: Resque, redis: Any) -> None:
    """Two round trips a page; filtered entries stay in place."""
    names = ["Boom" if n % 10 else "Kept" for n in range(2000)]
    await push(
        redis,
        *(failed_entry(dumps({"class": each, "args": [n]})) for n, each in enumerate(names)),
    )
    await resque.remove_failed(b"loads the script")
    before = resque.store.line.round_trips

    assert await resque.retry_all_failed(class_name="Boom") == 1800

    assert resque.store.line.round_trips - before <= 12
    moved = [dumps({"class": "Boom", "args": [n]}) for n in range(2000) if n % 10]
    assert await queue_of(redis) == moved
    kept = [entry.args[0] async for entry in resque.each_failed()]
    assert kept == list(range(0, 2000, 10))


async def test_bulk_is_safe_while_others_push_and_remove(resque: Resque, redis: Any) -> None:
    """New failures stay, what others remove is not needed, and nothing is skipped."""
    entries = [failed_entry(dumps({"class": "Boom", "args": [n]})) for n in range(1500)]
    others = [failed_entry(dumps({"class": "Kept", "args": [n]})) for n in range(1500)]
    await push(redis, *(each for pair in zip(entries, others, strict=True) for each in pair))
    rival = Resque(resque.store)

    class Busy(Plugin):
        """Others at work in the middle of each page."""

        async def before_enqueue(self, job: Enqueuing) -> bool:
            """Remove some at the head, add one at the tail."""
            if job.args[0] != "new" and job.args[0] % 100 == 99:
                await redis.lpop("resque:failed", 3)
                await push(redis, failed_entry(b'{"class":"Boom","args":["new"]}'))
            return True

    async with Resque(resque.store, {"Boom": {"perform": print, "plugins": [Busy()]}}) as busy:
        retried = await busy.retry_all_failed(class_name="Boom")

    left = [e async for e in rival.each_failed(class_name="Boom")]
    assert {entry.args[0] for entry in left} <= {"new"}
    assert 1450 <= retried <= 1515


async def test_what_can_not_be_retried_stays(resque: Resque, redis: Any) -> None:
    """Junk, entries without a queue, entries without a job: bulk leaves them, and says so."""
    stays = [b"", b"null", failed_entry(queue=None), failed_entry(b"[1]"), failed_entry(b"5")]
    await push(redis, *stays, failed_entry())

    assert await resque.retry_all_failed() == 1

    assert [entry.raw for entry in await resque.failed()] == stays
    with pytest.raises(UsageError, match="no job that could be retried"):
        await resque.retry_and_remove_failed(failed_entry(b"[1]"))
    await redis.set("resque:queue:text", "text")
    with pytest.raises(StoreError, match="queue 'text'"):
        await resque.retry_and_remove_failed(failed_entry(queue=None), "text")
    assert await resque.retry_all_failed(to_queue="named") == 1
    assert await queue_of(redis, "named") == [b'{"class":"Boom","args":[1]}']


async def test_what_ruby_retried_is_not_retried_in_bulk(resque: Resque, redis: Any) -> None:
    """It left the entry and enqueued the job: once more would run it twice. Named, it is retried."""
    at = "2026/11/21 00:36:51 UTC"
    stays = failed_entry(retried_at=at)
    stuck = failed_entry(backtrace=["killed", FORCED_CLEAN, "resqpy"], retried_at=at)
    await push(redis, stays, failed_entry(), stuck)

    assert await resque.retry_all_failed() == 1
    assert await resque.retry_all_failed(class_name="Boom") == 0
    assert await resque.retry_stuck_jobs() == 0
    assert [entry.raw for entry in await resque.failed()] == [stays, stuck]
    assert await resque.retry_and_remove_failed(stays)
    assert await resque.retry_all_failed(retried=True) == 1
    assert len(await queue_of(redis)) == 3


async def test_remove_all_by_exception(resque: Resque, redis: Any) -> None:
    """The others stay, in their order."""
    await push(redis, *(failed_entry(exception=f"E{n % 3}", worker=str(n)) for n in range(900)))

    assert await resque.remove_all_failed(exception=["E0", "E1"]) == 600

    assert [int(e.worker or 0) for e in await resque.failed(0, -1)] == list(range(2, 900, 3))
    assert await resque.remove_all_failed() == 300
    assert await redis.exists("resque:failed") == 0


async def test_equal_entries_are_removed_one_by_one(resque: Resque, redis: Any) -> None:
    """Two entries with the same bytes are two."""
    await push(redis, failed_entry(), failed_entry())
    [entry, _] = await resque.failed()

    assert await resque.remove_failed(entry) == 1
    assert await resque.failed_count() == 1
    assert await resque.retry_all_failed() == 1


async def test_retry_stuck_jobs_knows_the_marks_of_node(resque: Resque, redis: Any) -> None:
    """Only entries of a clean-up by force; `{}` that Node's script made of `[]` is mended (trap 14)."""
    stuck = next(
        raw for raw in FAILED.values() if b"forceCleanWorker" in raw and b'"args":{}' in raw
    )
    null = next(raw for raw in FAILED.values() if b'"backtrace":null' in raw)
    await push(redis, null, stuck, failed_entry())

    assert await resque.retry_stuck_jobs() == 1

    assert await queue_of(redis) == [b'{"class":"PyJob","args":[],"queue":"q"}']
    assert [entry.raw for entry in await resque.failed()] == [null, failed_entry()]


async def test_retry_stuck_jobs_looks_so_far_and_no_farther(resque: Resque, redis: Any) -> None:
    """`upper_limit` counts entries that are looked at."""
    stuck = failed_entry(backtrace=["killed", "queue#forceCleanWorker"])
    await push(redis, failed_entry(), stuck, stuck)

    assert await resque.retry_stuck_jobs(2) == 1
    assert await resque.retry_stuck_jobs() == 1


async def test_a_job_that_fails_again_at_once_is_not_retried_again(
    resque: Resque, redis: Any
) -> None:
    """The walk ends where the list ended when it began."""
    entry = failed_entry()
    await push(redis, entry)

    class FailsAgain(Plugin):
        """The worker is quicker than we are."""

        async def after_enqueue(self, job: Enqueuing) -> None:
            """Fail."""
            await push(redis, entry)

    async with Resque(resque.store, {"Boom": {"perform": print, "plugins": [FailsAgain()]}}) as own:
        assert await own.retry_all_failed() == 1
    assert isinstance((await resque.failed())[0], FailedJob)
