"""Jobs of every dialect with odd texts, on all their ways: not a byte changes but those that must.

A generator writes the texts itself, with every spelling that JSON allows, and so knows what a way may change:
the queue where a job is moved, the `queue` that a delayed item needs, the `executions` of an ActiveJob.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from resqpy import Queue
from resqpy.engine.inspect.inspector import Resque
from tests.support.scheduling import schedulers
from tests.support.waiting import wait_for
from tests.support.working import working

WRAPPER = "ActiveJob::QueueAdapters::ResqueAdapter::JobWrapper"
SCALARS = (
    "0", "-0", "1", "-17", "1.0", "1.50", "-0.0", "1e5", "1E+2", "1.0e+15", "1e-7", "0.00001",
    "9007199254740993", "18446744073709551616", "-9223372036854775809", "null", "true", "false",
    '""', '"a"', r'"\u2028"', '"\u2028"', r'"\/"', '"/"', r'"\u00e9"', '"é"', r'"\ud83d\ude00"', '"😀"',
    r'"\b\f\n\r\t\\\""', '"\x7f"', '"<>&"', '" "', "[]", "{}", "[ ]", "{ }",
)  # fmt: skip
BLANKS = ("", "", "", "", " ", "\n", "\t ")


class Sent(NamedTuple):
    """A job's text, and what becomes of it.

    Attributes:
        raw: as it is enqueued to `q`.
        moved: in another queue, `other`.
        item: as a delayed item of `q`, after one attempt.
    """

    raw: bytes
    moved: bytes
    item: bytes


def _value(rng: random.Random, deep: int = 0) -> str:
    kind = rng.random()
    if deep > 3 or kind < 0.6:
        return rng.choice(SCALARS)
    blank = rng.choice(BLANKS)
    items = [_value(rng, deep + 1) for _ in range(rng.randrange(4))]
    if kind < 0.8:
        return "[" + f"{blank},{blank}".join(items) + blank + "]"
    names = ['"a"', '"b c"', r'"\u0061b"', '"ключ"', '"1"', '"_aj"']
    pairs = [f"{rng.choice(names)}{blank}:{blank}{each}" for each in items]
    return "{" + ",".join(pairs) + "}"


def _args(rng: random.Random, number: int) -> str:
    return ",".join([str(number), *(_value(rng) for _ in range(rng.randrange(4)))])


def _object(rng: random.Random, members: list[str]) -> str:
    blank = rng.choice(BLANKS)
    return "{" + blank + f"{blank},{blank}".join(members) + blank + "}"


def _plain(members: list[str], at: int | None, write: Callable[[list[str]], str]) -> Sent:
    """A job whose `queue`, if it has one, is the member at a place."""
    raw = write(members)
    if at is None:
        return Sent(raw.encode(), raw.encode(), _delayed(raw).encode())
    moved = write([*members[:at], members[at].replace('"q"', '"other"'), *members[at + 1 :]])
    return Sent(raw.encode(), moved.encode(), raw.encode())


def _delayed(raw: str) -> str:
    """As resque-scheduler writes it."""
    return f'{raw[:-1]},"queue":"q"}}'


def ruby(rng: random.Random, number: int) -> Sent:
    """`{"class":…,"args":[…]}`."""
    args = f"[{_args(rng, number)}]"
    return _plain(['"class":"C"', f'"args":{args}'], None, lambda m: "{" + ",".join(m) + "}")


def node(rng: random.Random, number: int) -> Sent:
    """With its queue, in any order, with blanks."""
    args = f"[{_args(rng, number)}]"
    members = ['"class":"C"', '"queue":"q"', f'"args":{args}']
    rng.shuffle(members)
    state = rng.getstate()

    def write(given: list[str]) -> str:
        rng.setstate(state)
        return _object(rng, given)

    return _plain(members, members.index('"queue":"q"'), write)


def php(rng: random.Random, number: int) -> Sent:
    """One argument, and keys of its own, which stay."""
    args = f'[{{"n":{number},"x":{_value(rng)}}}]'
    raw = f'{{"class":"C","args":{args},"id":"i{number}","prefix":"","queue_time":1795941038.46{number}}}'
    return Sent(raw.encode(), raw.encode(), _delayed(raw).encode())


def rails(rng: random.Random, number: int) -> Sent:
    """ActiveJob's wrapper, which counts its attempts."""
    members = [
        '"job_class":"C"', f'"arguments":[{_args(rng, number)}]', '"executions":%d',
        '"exception_executions":{}', f'"locale":{_value(rng)}', f'"job_id":"{number}"',
    ]  # fmt: skip
    rng.shuffle(members)
    job = f'{{"class":"{WRAPPER}","args":[{{{",".join(members)}}}]}}'
    made = rng.randrange(3)
    item = _delayed(job)
    head, _, tail = job.partition('"executions":%d')
    raw = f'{head}"executions":{made}{tail}'
    head, _, tail = item.partition('"executions":%d')
    return Sent(raw.encode(), raw.encode(), f'{head}"executions":{made + 1}{tail}'.encode())


def python(rng: random.Random, number: int) -> Sent:
    """Ours: with texts beside the arguments, as a middleware gives them, or without."""
    members = ['"class":"C"', '"queue":"q"', f'"args":[{_args(rng, number)}]']
    if rng.random() < 0.5:
        members.insert(2, f'"traceparent":{json.dumps(rng.choice(SCALARS), ensure_ascii=False)}')
    return _plain(members, 1, lambda m: "{" + ",".join(m) + "}")


DIALECTS = (ruby, node, php, rails, python)
UNREADABLE = (
    rb'{"class":"C","args":["\ud800"]}', b'{"class":"C","args":["\xff"]}', b"{", b"", b"[1]", b"NaN",
    rb'{"class":"C","args":[1e400]}', b'{"class":"C","args":[NaN]}', b'{"class":5,"args":[]}',
)  # fmt: skip


async def _all(redis: Any, key: str) -> list[bytes]:
    return [bytes(each) for each in await redis.lrange(key, 0, -1)]


async def _fail(redis_url: str, redis: Any, count: int) -> None:
    async with working(redis_url, {}, "q", slots=20, events=("failure",)) as work:
        await work.until(count)
        await wait_for(lambda: _has(redis, count))


async def _has(redis: Any, count: int) -> bool:
    return int(await redis.llen("resque:failed")) == count


async def _ways(redis_url: str, redis: Any, sent: list[Sent]) -> None:
    """Failed and retried by hand, moved there and back, retried by a plugin, promoted by a scheduler."""
    raws = [each.raw for each in sent]
    await redis.sadd("resque:queues", "q")
    for at in range(0, len(raws), 1000):
        await redis.rpush("resque:queue:q", *raws[at : at + 1000])

    await _fail(redis_url, redis, len(raws))
    async with Resque(redis_url) as resque, Queue(redis_url) as queue:
        failed = [each.job_raw async for each in resque.each_failed()]
        assert sorted(b"none" if each is None else each for each in failed) == sorted(raws)
        assert await resque.retry_all_failed() == len(raws)
        assert sorted(await _all(redis, "resque:queue:q")) == sorted(raws)

        assert await queue.move("q", "other") == len(raws)
        assert sorted(await _all(redis, "resque:queue:other")) == sorted(
            each.moved for each in sent
        )
        assert await queue.move("other", "q") == len(raws)
        assert sorted(await _all(redis, "resque:queue:q")) == sorted(raws)

    items = [each.item for each in sent if each.raw not in UNREADABLE]
    retry = {"Retry": {"retry_limit": 9, "retry_delay": 1000}}
    jobs = {"C": {"perform": _raise, "plugins": ["Retry"], "plugin_options": retry}}
    async with working(redis_url, jobs, "q", slots=20, events=()) as work:

        def note(*_: Any) -> None:
            work.ended += 1

        work.worker.on("re_enqueue", note)
        await work.until(len(items))
    async with schedulers(redis_url, lease_s=0.4) as start:
        await start()
        for at in [*range(0, len(items), 1000), len(items)]:
            await wait_for(lambda at=at: _waits(redis, at))  # type: ignore[misc]  # of this round
    assert sorted(await _all(redis, "resque:queue:q")) == sorted(items)


def _raise(*_: Any) -> None:
    raise ValueError("again")


async def _waits(redis: Any, count: int) -> bool:
    return int(await redis.llen("resque:queue:q")) >= count


async def _fuzz(redis_url: str, redis: Any, dialect: Any, count: int) -> None:
    rng = random.Random(f"{dialect.__name__} {count}")
    sent = [dialect(rng, number) for number in range(count)]
    assert len({each.raw for each in sent}) == count
    await _ways(redis_url, redis, [*sent, *(Sent(raw, raw, raw) for raw in UNREADABLE)])


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda each: f"of {each.__name__}")
async def test_no_byte_changes_on_any_way(redis_url: str, redis: Any, dialect: Any) -> None:
    """A few hundred jobs of each dialect, and those that nobody can read."""
    await _fuzz(redis_url, redis, dialect, 300)


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda each: f"of {each.__name__}")
async def test_no_byte_of_a_hundred_thousand_changes(
    redis_url: str, redis: Any, dialect: Any
) -> None:
    """The same, with as many."""
    await _fuzz(redis_url, redis, dialect, 100_000)
