"""Classes that move between languages: which jobs are ours, where the others go, when the share ends by itself."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from resqpy import Limit, Resque, UsageError
from resqpy.base.activejob import WRAPPER
from resqpy.store import limits
from resqpy.store.exchange import EndCommands, Exchanged
from resqpy.store.migrations import ALL, Migration, migrate, migrations
from tests.engine.test_limits import SLOTS, Desk
from tests.engine.test_task_limits import put, raw
from tests.support.waiting import wait_for
from tests.support.working import working

RULE = Migration("q", "ruby", ALL // 2, over=10, max_errors=1000, max_ms=0)


@pytest.fixture
async def desk(redis_url: str, redis: Any) -> AsyncIterator[Desk]:
    """Exchanges of ten slots."""
    made = Desk(redis_url)
    yield made
    await made.exchange.close()
    await made.store.close()


def done(exchanged: Exchanged, counts: str = "p") -> list[EndCommands]:
    """The ends of all jobs that an exchange took."""
    return [
        EndCommands(SLOTS[each.slot].worker_id, each.claim.beginning, counts)
        for each in exchanged.taken
    ]


def rails(wrapped: dict[str, Any]) -> str:
    """A job of Rails."""
    return json.dumps({"class": WRAPPER, "args": [wrapped]}, separators=(",", ":"))


async def everything(desk: Desk, queue: str = "q", counts: str = "p") -> list[bytes]:
    """Take and end jobs until there are none; those that were taken."""
    found, taken = list[bytes](), await desk([], SLOTS, [queue])
    while taken.taken or taken.full:
        found += [each.raw or b"" for each in taken.taken]
        taken = await desk(done(taken, counts), SLOTS, [queue])
    return found


async def theirs(redis: Any, queue: str = "q.ruby") -> list[bytes]:
    """The jobs that were sent to the other side."""
    found: list[bytes] = await redis.lrange(f"resque:queue:{queue}", 0, -1)
    return found


async def split(desk: Desk, redis: Any, share: int, jobs: list[bytes]) -> set[bytes]:
    """Which of some jobs are ours."""
    await redis.delete("resque:queue:q.ruby", "resque:queue:q")
    await migrate(desk.store, "C", replace(RULE, share=share))
    await put(redis, *jobs)
    ours = await everything(desk)
    assert ours + await theirs(redis) == [*dict.fromkeys(ours + await theirs(redis))]
    assert {*ours, *await theirs(redis)} == {*jobs}
    return {*ours}


async def test_a_share_is_ours_and_the_rest_goes_untouched(desk: Desk, redis: Any) -> None:
    """In its order; a greater share only takes from the other side, a smaller one only gives."""
    jobs = [*map(raw, range(2000))]
    found = {share: await split(desk, redis, share, jobs) for share in (0, 100, 5000, 9900, ALL)}

    assert (found[0], found[ALL]) == (set(), {*jobs})
    assert found[100] < found[5000] < found[9900]
    for share in (100, 5000, 9900):  # five standard deviations
        p = share / ALL
        assert abs(len(found[share]) / 2000 - p) < 5 * (p * (1 - p) / 2000) ** 0.5
    assert await split(desk, redis, 5000, jobs) == found[5000]
    assert await theirs(redis) == [each for each in jobs if each not in found[5000]]
    assert await redis.smembers("resque:queues") == {b"q", b"q.ruby"}


async def test_a_retry_stays_where_it_was(desk: Desk, redis: Any) -> None:
    """However it is spelled, and whatever stands beside the arguments; of Rails the id says it."""
    await migrate(desk.store, "C", RULE)
    await migrate(desk.store, "R", RULE)
    for n in range(40):
        plain = json.dumps({"n": n, "a": [1, 2.5, "é", None], "b": {"x": 1, "y": 2}})
        other = json.dumps(
            {"b": {"y": 2, "x": 1}, "a": [1.0, 2.5, "é", None], "n": n}, ensure_ascii=False
        )
        wrapped = {"job_class": "R", "job_id": f"id-{n}", "arguments": [n]}
        for first, again in (
            (
                f'{{"class":"C","args":[{plain}]}}',
                f'{{"class":"C","queue":"q","traceparent":"x{n}","args":[{other}]}}',
            ),
            (
                rails(wrapped | {"executions": 0}),
                rails(wrapped | {"executions": 3, "x": n}),
            ),
        ):  # fmt: skip
            await put(redis, first.encode(), again.encode())
            assert len(await everything(desk)) in (0, 2)
    assert 0 < len(await theirs(redis)) < 160


async def test_what_is_none_of_it_stays(desk: Desk, redis: Any) -> None:
    """Other classes, the class in other queues, tracked tasks; a sub-queue goes with its queue."""
    await migrate(desk.store, "C", replace(RULE, share=0))
    tracked = b'{"class":"C","queue":"q","args":[{"_task_id":"t1"}]}'
    await put(redis, raw(1, "D"), tracked, raw(2))
    await put(redis, raw(3, queue="other"), queue="other")
    await put(redis, raw(4, queue="q"), queue="q^5")

    taken = [
        *await everything(desk),
        *await everything(desk, "other"),
        *await everything(desk, "q^5"),
    ]

    assert taken == [raw(1, "D"), tracked, raw(3, queue="other")]
    assert await theirs(redis) == [raw(2), raw(4, queue="q")]


@pytest.mark.parametrize("others", [0, 60])
async def test_all_other_classes_of_a_queue(desk: Desk, redis: Any, others: int) -> None:
    """They have a rule together; one that is named has its own, also where it is another queue's."""
    await limits.announce(desk.store, {f"T{n}": [Limit(1)] for n in range(others)})
    await migrate(desk.store, "*@q", replace(RULE, share=0))
    await migrate(desk.store, "C", replace(RULE, share=ALL))
    await migrate(desk.store, "E", replace(RULE, share=ALL, queue="other"))
    await put(redis, raw(1), raw(2, "D"), raw(3, "E"))
    await put(redis, raw(4, "D", "other"), queue="other")

    assert await everything(desk) == [raw(1)]
    assert await everything(desk, "other") == [raw(4, "D", "other")]
    assert await theirs(redis) == [raw(2, "D"), raw(3, "E")]
    assert (await migrations(desk.store))["*@q"].count("theirs") == 2


@pytest.mark.parametrize("others", [0, 60])
async def test_none_of_ours_takes_from_the_queue_of_the_other_side(
    desk: Desk, redis: Any, others: int
) -> None:
    """As long as there is a rule; also where there are so many limits that few of them are read."""
    await limits.announce(desk.store, {f"T{n}": [Limit(1)] for n in range(others)})
    await migrate(desk.store, "C", replace(RULE, share=0))
    await put(redis, raw(1))
    first = await desk([], SLOTS, ["q.ruby", "q"])
    again = await desk([], SLOTS, ["q.ruby", "q"])
    await migrate(desk.store, "C", None)
    freed = await desk([], SLOTS, ["q.ruby", "q"])

    assert ([*first.taken, *again.taken], again.nothing) == ([], True)
    assert [each.raw for each in freed.taken] == [raw(1)]
    left = await redis.hkeys("resque:resqpy:limits")
    assert [each for each in left if b"{migrate}" in each or b"{away}" in each] == []
    assert await redis.exists("resque:resqpy:limits:migration:C") == 0


async def test_what_waits_for_a_limit_goes_too(desk: Desk, redis: Any) -> None:
    """When its turn comes; a limit of ours does not hold for what is theirs."""
    await limits.announce(desk.store, {"C": [Limit(1)]})
    await put(redis, *map(raw, range(4)))
    taken = await desk([], SLOTS, ["q"])
    await migrate(desk.store, "C", replace(RULE, share=0))
    after = await desk(done(taken), SLOTS, ["q"])
    await put(redis, raw(4))
    await everything(desk)

    assert ([each.raw for each in taken.taken], after.taken) == ([raw(0)], [])
    assert await theirs(redis) == [*map(raw, range(1, 5))]
    assert await redis.keys("resque:resqpy:limits:*") == [b"resque:resqpy:limits:migration:C"]


@pytest.mark.parametrize("jobs", [20, 200])
async def test_what_a_rule_costs(desk: Desk, redis: Any, jobs: int) -> None:
    """A job of it: one push if it is theirs. All else is asked and written once an exchange."""
    await migrate(desk.store, "C", RULE)
    await desk([], SLOTS, ["q"])
    await put(redis, *map(raw, range(jobs)))
    await redis.config_resetstat()
    taken = await desk([], SLOTS, ["q"])
    stats = await redis.info("commandstats")
    calls = {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}

    sent = await redis.llen("resque:queue:q.ruby")
    once = {"hgetall": 1, "hlen": 1, "mget": 1, "hincrby": 2, "sadd": 1}
    assert {name: calls.pop(name) for name in once} == once
    assert (calls.pop("set"), calls.pop("rpush")) == (len(taken.taken), sent)
    assert calls.keys() - {"lpop", "lpush", "evalsha", "hget", "type", "config|resetstat"} == set()


async def test_what_is_counted(desk: Desk, redis: Any) -> None:
    """Where jobs went, and how ours ended; reset by each change of the share."""
    await migrate(desk.store, "C", replace(RULE, max_errors=ALL))
    jobs = [*map(raw, range(50))]
    await put(redis, *jobs)
    ours = await everything(desk, counts="f")
    await put(redis, *[each for each in jobs if each in ours])
    one, *others = (await desk([], SLOTS, ["q"])).taken  # succeeded, without an end of its own
    await desk(
        done(Exchanged(paused=False, taken=others), "-"), [], ["q"],
        succeeded={one.claim.beginning: [SLOTS[one.slot]]},
    )  # fmt: skip
    found = (await migrations(desk.store))["C"]
    await migrate(desk.store, "C", replace(RULE, share=0))
    after = (await migrations(desk.store))["C"]

    assert found.count("theirs") == len(jobs) - len(ours) == await redis.llen("resque:queue:q.ruby")
    assert found.count("ours") == len(ours) + len(others) + 2  # it was replaced by another
    assert (found.count("ended"), found.count("failed")) == (len(ours) + 1, len(ours))
    assert (found.back, found.count("since") > 0) == ("", True)
    assert {*after.counts} == {"since"}


@pytest.mark.parametrize(
    ("name", "job"),
    [
        ("C", '{"class":"C","args":[1]}'),
        ("C", '{"class": "C", "queue": "q", "args": [1]}'),
        ("C", '{\n"class" : "C","args":[]}'),
        ("C", rails({"job_class": "C", "job_id": "1", "arguments": []})),
        ("C", json.dumps({"args": ["x" * 900], "class": "C"})),
        ("C", json.dumps({"class": WRAPPER, "args": [{"x": "y" * 900, "job_class": "C"}]})),
        ("App\\Jobs\\C", r'{"class":"App\\Jobs\\C","args":[1],"id":"1"}'),
        ("App\\Jobs\\C", rails({"job_class": "App\\Jobs\\C", "job_id": "1", "arguments": []})),
        ("Café", r'{"class":"Caf\u00e9","args":[1]}'),
        ("Café", '{"class":"Café","args":[1]}'),
        ('a"b', r'{"class":"a\"b","args":[1]}'),
        ("a\\", r'{"class":"a\\","args":[1]}'),
    ],
)
async def test_runs_are_counted_however_their_jobs_are_spelled(
    desk: Desk, redis: Any, name: str, job: str
) -> None:
    """With or without an end of their own; so what fails falls back."""
    await migrate(desk.store, name, replace(RULE, share=ALL))
    await put(redis, job.encode(), job.encode())
    [one] = (await desk([], SLOTS[:1], ["q"])).taken
    await desk([], [], [], succeeded={one.claim.beginning: SLOTS[:1]})
    assert await everything(desk, counts="f") == [job.encode()]

    found = (await migrations(desk.store))[name]
    assert (found.count("ours"), found.count("ended"), found.count("failed")) == (2, 2, 1)


@pytest.mark.parametrize("queue", ["Café", 'a"b', "a\\b", "a/b", 'q","run_at":"'])
async def test_runs_of_any_queue_are_counted(desk: Desk, redis: Any, queue: str) -> None:
    """Whatever its name."""
    await migrate(desk.store, "C", replace(RULE, share=ALL, queue=queue))
    await put(redis, raw(1), queue=queue)
    assert await everything(desk, queue, counts="f") == [raw(1)]

    found = (await migrations(desk.store))["C"]
    assert (found.count("ours"), found.count("ended"), found.count("failed")) == (1, 1, 1)


async def test_it_falls_back_when_too_many_fail(desk: Desk, redis: Any) -> None:
    """As soon as it is certain for so many ends; what comes then is theirs, and somebody is told once."""
    await migrate(desk.store, "C", replace(RULE, share=ALL))
    told = redis.pubsub()
    await told.subscribe("resque:resqpy:control")
    await put(redis, *map(raw, range(30)))
    for number, counts in enumerate("pfpf"):
        taken = await desk([], SLOTS[:1], ["q"])
        assert [each.raw for each in taken.taken] == [raw(number)]
        await desk(done(taken, counts), [], [])
    found = (await migrations(desk.store))["C"]

    assert await everything(desk) == []
    assert (found.share, found.back, found.count("back_share")) == (0, "errors", ALL)
    assert (found.count("back_ended"), found.count("back_failed")) == (4, 2)
    assert await theirs(redis) == [*map(raw, range(4, 30))]
    messages = [await told.get_message(timeout=1) for _ in range(3)]
    said = [json.loads(each["data"]) for each in messages if each and each["type"] == "message"]
    assert said == [{"fell_back": "C", "by": ""}]
    await told.aclose()


async def test_one_with_namespaces_is_named(desk: Desk, redis: Any) -> None:
    """As its jobs name it; nothing in it breaks a log."""
    name = 'App\\Jobs\\"Café"/\n'
    told = redis.pubsub()
    await told.subscribe("resque:resqpy:control")
    await migrate(desk.store, name, replace(RULE, share=ALL, over=1))
    await put(redis, json.dumps({"class": name, "args": []}).encode())
    await everything(desk, counts="f")

    messages = [await told.get_message(timeout=1) for _ in range(3)]
    said = [json.loads(each["data"]) for each in messages if each and each["type"] == "message"]
    assert [each["fell_back"] for each in said] == ['App\\Jobs\\"Café"/?']
    await told.aclose()


async def test_a_few_errors_are_no_reason(desk: Desk, redis: Any) -> None:
    """One of each ten, however many there are in all."""
    await migrate(desk.store, "C", replace(RULE, share=ALL))
    await put(redis, *map(raw, range(60)))
    for number in range(60):
        taken = await desk([], SLOTS[:1], ["q"])
        await desk(done(taken, "f" if number % 10 == 4 else "p"), [], [])

    found = (await migrations(desk.store))["C"]
    assert (found.share, found.count("ended"), found.count("failed")) == (ALL, 60, 6)


async def test_it_falls_back_when_ours_take_too_long(desk: Desk, redis: Any) -> None:
    """On average, over so many ends. The desk's jobs began at midnight."""
    await migrate(desk.store, "C", replace(RULE, share=ALL, max_ms=1))
    seconds = (await redis.time())[0] % 86_400
    if seconds > 82_000:
        pytest.skip("a run that began so long ago looks like one that begins soon")
    await put(redis, *map(raw, range(30)))
    taken = await desk([], SLOTS[:9], ["q"])
    await desk(done(taken), [], [])
    before = (await migrations(desk.store))["C"]
    taken = await desk([], SLOTS[:1], ["q"])
    await desk(done(taken), [], [])
    found = (await migrations(desk.store))["C"]

    assert (before.share, found.share, found.back) == (ALL, 0, "time")
    assert found.count("back_ms") >= seconds * 1000


@pytest.mark.parametrize("what", ["set", "sadd"])
async def test_keys_of_other_types(desk: Desk, redis: Any, what: str) -> None:
    """Where the queue of the other side is no list, jobs stay, and that is said. Broken counts do no harm."""
    await migrate(desk.store, "C", replace(RULE, share=0))
    await put(redis, raw(1))
    await redis.delete("resque:resqpy:limits:migration:C")
    await getattr(redis, what)("resque:queue:q.ruby", "x")
    await getattr(redis, what)("resque:resqpy:limits:migration:C", "x")
    refused = await desk([], SLOTS, ["q"])
    await redis.delete("resque:queue:q.ruby")
    await desk([], SLOTS, ["q"])

    assert ([name for name, _ in refused.broken], refused.taken) == (["q"], [])
    assert await theirs(redis) == [raw(1)]


@pytest.mark.parametrize(
    "text",
    [
        "some ruby q",
        "0 9 500 0 ruby",
        "9" * 5000 + " 9 500 0 ruby q",
        "10001 9 500 0 ruby q",
        "0 " + "9" * 400 + " 500 0 ruby q",
        "0 9 " + "9" * 9 + " 0 ruby q",
        "0 9 500 " + "9" * 13 + " ruby q",
        "\u0660 9 500 0 ruby q",
    ],
)
async def test_a_rule_that_somebody_else_wrote(desk: Desk, redis: Any, text: str) -> None:
    """Is none, to whoever reads it; we write no such."""
    await redis.hset("resque:resqpy:limits", "{migrate}C", text)
    await migrate(desk.store, "D", replace(RULE, share=0, queue="other"))
    await put(redis, raw(1))

    assert await everything(desk) == [raw(1)]
    assert (await migrations(desk.store)).keys() == {"D"}
    assert not await redis.hexists("resque:resqpy:limits", "{away}q.ruby")
    with pytest.raises(UsageError, match="digits"):
        await migrate(desk.store, "E", replace(RULE, over=10**12))


async def test_limits_know_nothing_of_it(redis_url: str, desk: Desk) -> None:
    """Their verbs show none."""
    await migrate(desk.store, "C", RULE)
    async with Resque(redis_url) as resque:
        assert (await resque.limits(), await resque.running_limits()) == ({}, {})


async def test_the_process_that_decides_says_so_once(redis_url: str, redis: Any) -> None:
    """One of two; all take no more, and what they ran ends."""

    async def fail(_: dict[str, Any]) -> None:
        raise ValueError

    async with (
        Resque(redis_url) as resque,
        working(redis_url, {"C": fail}, "q", slots=3) as one,
        working(redis_url, {"C": fail}, "q", slots=3) as other,
    ):
        await migrate(resque.store, "C", replace(RULE, share=ALL))
        await resque.enqueue_many([("q", "C", [{"n": n}]) for n in range(100)])
        await wait_for(lambda: _empty(redis))
        await one.until_quiet()
        await other.until_quiet()
        errors = [str(args[0]) for work in (one, other) for args in work.args("error")]
        sent, failed = await redis.llen("resque:queue:q.ruby"), await redis.llen("resque:failed")

    assert [each for each in errors if not each.startswith("C fell back")] == []
    assert len(errors) == 1
    assert (sent + failed, 2 <= failed <= 20) == (100, True)


async def _empty(redis: Any) -> bool:
    return not await redis.exists("resque:queue:q")
