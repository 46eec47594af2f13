"""Ruby's `persistent_schedules` under our leader: run as Ruby does, written so that Ruby survives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pytest

from resqpy.base.cron.cron import CronSchedule
from resqpy.base.cron.ruby import InvalidSchedule, parse, ruby_time
from resqpy.base.errors import Deposed, UsageError
from resqpy.base.periodic import to_ms
from resqpy.engine.inspect.schedule_view import RubyScheduleVerbs, ScheduleView
from resqpy.engine.plugin import Enqueuing, Plugin
from resqpy.engine.queue.queue import Queue
from resqpy.engine.scheduler.schedule_chores import schedule_chores
from resqpy.framework.config.sections import SchedulerOptions
from resqpy.schedules.ruby import machine_zone
from resqpy.schedules.schedule import ScheduleChore
from resqpy.schedules.tasks import Announcer
from tests.support.leading import Leading

START = datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)
START_MS = to_ms(START)
MINUTE = 60_000

SCHEDULES, CHANGED = "resque:persistent_schedules", "resque:schedules_changed"
LAST = "resque:delayed:last_enqueued_at"


class Scene:
    """A leader in the shared scope with the chore, under a clock of the test."""

    def __init__(self, url: str, jobs: Mapping[str, Any] | None = None, **options: Any) -> None:
        self.leading = Leading(url, START_MS)
        self.store = self.leading.store
        self.told: list[tuple[Any, ...]] = []
        self.queue = Queue(self.store, jobs or {})
        self.options = SchedulerOptions(timeout_s=1e6, **{"ruby_timezone": "UTC", **options})
        self.chore = self.new_chore()
        self.verbs = RubyScheduleVerbs(self.queue)

    def new_chore(self) -> ScheduleChore:
        """What another process has, that leads next."""
        announcer = Announcer(self.store, {}, lambda _: None)
        chores = schedule_chores(
            self.queue, announcer, self.options, lambda *told: self.told.append(told)
        )
        return next(each for each in chores if each.scope == "shared")

    @property
    def errors(self) -> list[str]:
        """What was told as errors."""
        return [str(told[1]) for told in self.told if told[0] == "error"]

    async def put(self, name: str, **entry: Any) -> None:
        """Write an entry as a Ruby client does, unchecked."""
        text = json.dumps({"class": "Job", "queue": "q", **entry})
        await self.store.call("HSET", SCHEDULES, name, text)
        await self.store.call("SADD", CHANGED, name)

    async def run(self) -> float:
        """One look."""
        return await self.leading.run(self.chore)

    async def until(self, after_s: float) -> None:
        """Let the chore run whenever it wants to, until so many seconds after the start."""
        await self.leading.run_until(self.chore, START_MS + int(after_s * 1000))

    async def count(self, queue: str = "q") -> int:
        """How many jobs there are."""
        return int(await self.store.call("LLEN", self.store.keys.queue(queue)))

    async def jobs(self, queue: str = "q") -> list[bytes]:
        """The jobs."""
        raws: list[bytes] = await self.store.call("LRANGE", self.store.keys.queue(queue), 0, -1)
        return raws

    async def __aenter__(self) -> Self:
        await self.leading.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leading.__aexit__()


# -- run --


async def test_the_job_is_rubys_byte_for_byte(redis_url: str, redis: Any) -> None:
    """Without queue, and with the arguments in the very text of the entry."""
    entry = b'{"every":"1m","class":"Job","queue":"q","args":[{"k":1.0},1e2],"description":"x"}'
    async with Scene(redis_url) as scene:
        await redis.hset(SCHEDULES, "every minute", entry)
        await scene.until(61)
        assert await scene.jobs() == [b'{"class":"Job","args":[{"k":1.0},1e2]}']
        assert await redis.smembers("resque:queues") == {b"q"}
        assert await redis.hgetall(LAST) == {b"every minute": b"2026-01-01 00:01:00 +0000"}
        assert scene.told == [
            (
                "enqueue",
                START_MS + MINUTE,
                {"class": "Job", "queue": "q", "args": [{"k": 1.0}, 100.0]},
            )
        ]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ("scalar", '["scalar"]'),
        ({"as": "hash"}, '[{"as": "hash"}]'),
        (None, "[]"),
        (False, "[false]"),
    ],
)
async def test_what_is_no_list_is_the_only_argument(
    redis_url: str, args: Any, expected: str
) -> None:
    """As Ruby's `Array(args)` has it, but a hash is not taken apart."""
    async with Scene(redis_url) as scene:
        await scene.put("one", every="1s", args=args)
        await scene.until(1)
        assert await scene.jobs() == [f'{{"class":"Job","args":{expected}}}'.encode()]


async def test_first_in_and_the_rhythm(redis_url: str) -> None:
    """`every` begins after `first_in`, or after a period, and keeps its times."""
    async with Scene(redis_url) as scene:
        await scene.put("a", every=["1h", {"first_in": "5s"}], queue="a")
        await scene.put("b", every="1h", queue="b")
        await scene.put("c", every=["30s", {"first_in": 0}], queue="c")
        await scene.run()
        assert [await scene.count(q) for q in "abc"] == [0, 0, 1]
        await scene.until(5)
        assert [await scene.count(q) for q in "abc"] == [1, 0, 1]
        await scene.until(2 * 3600 + 5)
        assert [await scene.count(q) for q in "abc"] == [3, 2, 241]


async def test_cron_in_the_zone_of_ruby(redis_url: str) -> None:
    """A zone of its own counts; else that of the machine, which the options may name."""
    async with Scene(redis_url, ruby_timezone="Asia/Tokyo") as scene:
        await scene.put("tokyo", cron="0 12 * * *", queue="tokyo")
        await scene.put("berlin", cron="0 12 * * * Europe/Berlin", queue="berlin")
        await scene.put("both", cron="0 3 * * * UTC", every="1s", queue="both")
        await scene.until(3 * 3600)
        assert [await scene.count(q) for q in ("tokyo", "berlin", "both")] == [1, 0, 1]
        await scene.until(11 * 3600)
        assert [await scene.count(q) for q in ("tokyo", "berlin", "both")] == [1, 1, 1]


async def test_a_year_of_rubys_schedules(redis_url: str) -> None:
    """The fires are those that the expressions name."""
    texts = {"a": "30 2 * * * Europe/Berlin", "b": "0 */6 * * *", "c": "0 8 * * mon#1"}
    end = START + timedelta(days=365)
    async with Scene(redis_url) as scene:
        for name, text in texts.items():
            await scene.put(name, cron=text, queue=name)
        await scene.put("d", every="7d", queue="d")
        await scene.until(365 * 86_400)
        counts = {name: await scene.count(name) for name in texts}
        assert counts == {
            name: len(list(CronSchedule.parse(text).between(START, end)))
            for name, text in texts.items()
        }
        assert await scene.count("d") == 52


async def test_the_environment_must_match(redis_url: str) -> None:
    """`rails_env` or `env`, a list with commas; without an environment those entries rest."""
    async with Scene(redis_url, ruby_env="production") as scene:
        await scene.put("a", every="1s", rails_env="staging, production", queue="a")
        await scene.put("b", every="1s", env="test", queue="b")
        await scene.until(2)
        assert [await scene.count(q) for q in "ab"] == [2, 0]
        assert scene.errors == []
    async with Scene(redis_url) as scene:
        await scene.until(4)
        assert [await scene.count(q) for q in "ab"] == [2, 0]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (b"junk", "JSON"),
        (b"null", "NoneType"),
        (b'{"class":"Job","queue":"q"}', "neither"),
        (b'{"class":"Job","queue":"q","cron":"61 * * * *"}', "minute"),
        (b'{"class":"Job","queue":"q","every":"500ms"}', "500ms"),
        (b'{"class":"Job","queue":5,"every":"1s"}', "queue"),
        (b'{"queue":"q","every":"1s"}', "class"),
        (b'{"class":"Job","every":"1s"}', "names no queue"),
        (b'{"class":"Job","queue":"q","every":"1s","args":NaN}', "JSON"),
        (b'{"class":"Job","queue":"q","every":"1s","rails_env":5}', "rails_env"),
    ],
)
async def test_a_bad_entry_is_told_once_and_left_out(
    redis_url: str, redis: Any, entry: bytes, words: str
) -> None:
    """It ends every Ruby scheduler; here the others go on."""
    async with Scene(redis_url) as scene:
        await redis.hset(SCHEDULES, "bad", entry)
        await scene.put("good", every="1s")
        await scene.until(3)
        assert await scene.count() == 3
        (error,) = scene.errors
        assert "'bad'" in error
        assert words in error


async def test_options_that_are_not_followed_are_told(redis_url: str) -> None:
    """`overlap` is Ruby's own, of `every` and of `cron`."""
    async with Scene(redis_url) as scene:
        await scene.put("x", every=["1s", {"overlap": False}])
        await scene.put("y", cron=["0 5 * * *", {"name": "n"}])
        await scene.until(3)
        assert await scene.count() == 3
        assert sorted(scene.errors) == [
            "Ruby's schedule 'x': not supported here: overlap",
            "Ruby's schedule 'y': not supported here: name",
        ]


async def test_a_schedule_that_runs_some_times(redis_url: str) -> None:
    """`times` is kept over a change of the leader; a changed entry counts anew."""
    async with Scene(redis_url) as scene:
        await scene.put("x", every=["1s", {"times": 3}])
        await scene.until(2.7)
        before = await scene.count()
        scene.chore = scene.new_chore()
        await scene.until(60)
        assert (before, await scene.count()) == (2, 3)
        view = await ScheduleView(scene.queue, scene.options).load()
        [entry] = view.entries
        assert (entry.state, entry.next, "3 times" in entry.problem) == ("inactive", None, True)
        await scene.put("x", every=["1s", {"times": 1}])
        await scene.until(90)
        assert await scene.count() == 4
        assert scene.errors == []


async def test_a_schedule_that_begins_and_ends(redis_url: str) -> None:
    """At a time, then at its distance; after its last time it runs no more."""
    at = {"first_at": "2026-01-01T00:10:00Z", "last_at": "2026-01-01T00:12:30Z"}
    async with Scene(redis_url) as scene:
        await scene.put("x", every=["1m", at])
        await scene.put("past", queue="p", every=["1h", {"first_at": "2025-06-01T00:30:00Z"}])
        counts = []
        for minute in (9, 10.1, 11.1, 60):
            await scene.until(minute * 60)
            counts.append(await scene.count())
        assert counts == [0, 1, 2, 3]
        assert await scene.count("p") == 1
        view = await ScheduleView(scene.queue, scene.options).load()
        assert [each.state for each in view.entries] == ["waiting", "inactive"]


@pytest.mark.parametrize(
    "entry",
    [
        {"every": ["1s", {"last_in": "1h"}]},
        {"every": ["1s", {"last": "10s"}]},
        {"every": ["1s", {"times": "3"}]},
        {"every": ["1s", {"times": 0}]},
        {"every": ["1s", {"first_at": "next monday"}]},
        {"every": ["1s", {"last_at": True}]},
        {"cron": ["* * * * * *", {"times": 3}]},
        {"cron": ["* * * * * *", {"first_at": "2030-01-01T00:00:00Z"}]},
    ],
)
async def test_a_beginning_or_end_that_is_not_understood(redis_url: str, entry: Any) -> None:
    """The entry is left out, and told: half understood it would run for ever."""
    async with Scene(redis_url) as scene:
        await scene.put("x", **entry)
        await scene.until(5)
        assert await scene.count() == 0
        [error] = scene.errors
        assert "schedule 'x'" in error


async def test_schedules_that_only_a_ruby_process_knows_are_told(
    redis_url: str, redis: Any
) -> None:
    """Once; what is in Redis of them is when they ran last."""
    async with Scene(redis_url) as scene:
        await scene.put("here", every="1s")
        await redis.hset(LAST, "nightly", "2026-11-29 08:45:36 +0000")
        await redis.hset(LAST, "clean", b"\xff")
        await scene.until(3)
        [error] = scene.errors
        assert "'nightly'" in error
        assert "'clean'" in error
        assert "'here'" not in error
        entries = (await ScheduleView(scene.queue, scene.options).load()).entries
        told = {each.name: (each.state, bool(each.problem)) for each in entries}
        assert told == {
            "here": ("waiting", False),
            "nightly": ("inactive", True),
            "clean": ("inactive", True),
        }


async def test_the_queue_may_be_that_of_our_task(redis_url: str) -> None:
    """Where the entry names none; and a custom job class is what is enqueued."""
    jobs = {"Job": {"perform": print, "queue": "ours"}}
    async with Scene(redis_url, jobs) as scene:
        await scene.put("x", every="1s", queue=None)
        await scene.put("y", every="1s", custom_job_class="Other")
        await scene.until(1)
        assert await scene.jobs("ours") == [b'{"class":"Job","args":[]}']
        assert await scene.jobs() == [b'{"class":"Other","args":[]}']


class No(Plugin):
    """Forbids all but what has arguments, and changes these."""

    async def before_enqueue(self, job: Enqueuing) -> bool:
        job.args.append(3)
        return len(job.args) > 1


async def test_a_plugin_of_ours_may_forbid_it(redis_url: str, redis: Any) -> None:
    """The time is noted all the same, as Ruby does where an enqueueing fails. Its bytes are Ruby's."""
    jobs = {"Job": {"perform": print, "plugins": [No]}}
    async with Scene(redis_url, jobs) as scene:
        await scene.put("x", every="1s")
        await scene.put("y", every="1s", args=[1.5], queue="other")
        await scene.until(1)
        assert await scene.count() == 0
        assert await scene.jobs("other") == [b'{"class":"Job","args":[1.5]}']
        assert await redis.hexists(LAST, "x")


# -- changes --


async def test_changes_are_followed_and_their_names_taken(redis_url: str, redis: Any) -> None:
    """A new text begins anew, the same text does not, a removed one ends."""
    async with Scene(redis_url) as scene:
        await scene.put("x", every="10s")
        await scene.until(6)
        assert not await redis.exists(CHANGED)
        await scene.put("x", every="10s")
        await scene.until(10)
        assert await scene.count() == 1
        await scene.put("x", every="5s")
        await scene.until(19)
        assert await scene.count() == 2
        assert await scene.verbs.remove_schedule("x")
        assert not await scene.verbs.remove_schedule("x")
        await scene.until(60)
        assert await scene.count() == 2
        assert not await redis.exists("resque:resqpy:ruby:next")


# -- leaders --


async def test_a_successor_keeps_the_times(redis_url: str) -> None:
    """Cron times within half a minute are made up for, later ones are left out, `every` fires once."""
    async with Scene(redis_url) as scene:
        await scene.put("cron", cron="* * * * *", queue="cron")
        await scene.put("every", every="60s", queue="every")
        await scene.until(59.4)
        scene.leading.clock.advance(10_000)
        scene.chore = scene.new_chore()
        await scene.run()
        assert [await scene.count(q) for q in ("cron", "every")] == [1, 1]
        scene.leading.clock.advance(10 * MINUTE + 45_000 - 9_900)
        await scene.run()
        await scene.run()
        assert [await scene.count(q) for q in ("cron", "every")] == [1, 2]
        assert await scene.run() <= 15


async def test_a_deposed_leader_does_nothing(redis_url: str) -> None:
    """The fence is asked before reading: the names of changed schedules are for another."""
    async with Scene(redis_url) as scene:
        await scene.put("x", every="1s")
        await scene.leading.take_over("ruby:1")
        with pytest.raises(Deposed):
            await scene.run()
        assert await scene.store.call("SCARD", CHANGED) == 1


async def test_what_ruby_fired_meanwhile_is_not_fired_again(redis_url: str, redis: Any) -> None:
    """`last_enqueued_at` with another text than ours: a Ruby scheduler led in between."""
    async with Scene(redis_url) as scene:
        await scene.put("cron", cron="* * * * *", queue="cron")
        await scene.put("every", every="60s", queue="every")
        await scene.run()
        scene.leading.clock.advance(MINUTE + 5_000)
        for name in ("cron", "every"):
            await redis.hset(LAST, name, ruby_time(START_MS + MINUTE))
        await scene.run()
        assert [await scene.count(q) for q in ("cron", "every")] == [0, 0]
        scene.leading.clock.advance(56_000)
        await scene.run()
        assert [await scene.count(q) for q in ("cron", "every")] == [1, 1]


async def test_taking_over_from_ruby(redis_url: str, redis: Any) -> None:
    """A cron time that Ruby missed when it died is made up for; an `every` keeps its rhythm."""
    async with Scene(redis_url) as scene:
        await scene.put("cron", cron="* * * * *", queue="cron")
        await scene.put("done", cron="* * * * *", queue="done")
        await scene.put("every", every="60s", queue="every")
        scene.leading.clock.advance(3000)
        await redis.hset(LAST, "cron", ruby_time(START_MS - MINUTE))
        await redis.hset(LAST, "done", ruby_time(START_MS))
        await redis.hset(LAST, "every", ruby_time(START_MS - 20_000))
        await scene.run()
        assert [await scene.count(q) for q in ("cron", "done", "every")] == [1, 0, 0]
        scene.leading.clock.advance(37_000)
        await scene.run()
        assert [await scene.count(q) for q in ("cron", "done", "every")] == [1, 0, 1]


async def test_a_reply_that_was_lost_doubles_nothing(redis_url: str, redis: Any) -> None:
    """A step that was done is not done again on what was read before it."""
    async with Scene(redis_url) as scene:
        await scene.put("x", every="1s")
        await scene.run()
        note = await redis.hget("resque:resqpy:ruby:next", "x")
        scene.leading.clock.advance(1000)
        await scene.run()
        assert await redis.hget("resque:resqpy:ruby:next", "x") != note
        assert await scene.count() == 1


async def test_a_queue_that_is_no_list_harms_nobody_else(redis_url: str, redis: Any) -> None:
    """The error is told, the other schedules go on, and it comes later."""
    async with Scene(redis_url) as scene:
        await redis.set("resque:queue:bad", "text")
        await scene.put("a", every="1s", queue="bad")
        await scene.put("b", every="1s")
        await scene.until(1.05)
        assert await scene.count() == 1
        assert "WRONGTYPE" in scene.errors[0]
        await redis.delete("resque:queue:bad")
        await scene.until(1.5)
        assert await scene.count("bad") == 1


# -- written --


async def test_set_schedule_writes_what_ruby_writes(redis_url: str, redis: Any) -> None:
    """The entry and the name of what has changed, in one step; the class may be the name."""
    async with Scene(redis_url) as scene:
        config = {"cron": "*/5 * * * *", "queue": "q", "args": [1, {"a": "é"}], "persist": True}
        await scene.verbs.set_schedule("Report", config)
        text = '{"cron":"*/5 * * * *","queue":"q","args":[1,{"a":"é"}],"class":"Report"}'
        assert await redis.hgetall(SCHEDULES) == {b"Report": text.encode()}
        assert await redis.smembers(CHANGED) == {b"Report"}
        assert await scene.verbs.schedules() == {"Report": json.loads(text)}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"queue": "q"}, "neither"),
        ({"every": 5, "queue": "q"}, "text"),
        ({"every": "500ms", "queue": "q"}, "500ms"),
        ({"every": "0.1s", "queue": "q"}, "0.3"),
        ({"cron": "0 0 30 2 *", "queue": "q"}, "never"),
        ({"cron": "@reboot", "queue": "q"}, "reboot"),
        ({"every": ["1h", {"first_at": "tomorrow"}], "queue": "q"}, "first_at"),
        ({"every": "1h", "queue": "a*"}, r"a\*"),
        ({"every": "1h", "class": 5}, "class"),
        ({"every": "1h", "args": [float("nan")]}, "NaN|nan"),
        ({"every": "1h", "rails_env": 5}, "rails_env"),
    ],
)
async def test_what_would_end_ruby_is_never_written(
    redis_url: str, redis: Any, config: Any, words: str
) -> None:
    """An error that says why, and nothing in Redis."""
    async with Scene(redis_url) as scene:
        with pytest.raises(UsageError, match=words):
            await scene.verbs.set_schedule("x", config)
        assert not await redis.exists(SCHEDULES, CHANGED)


async def test_what_has_changed_meanwhile_is_not_overwritten(redis_url: str, redis: Any) -> None:
    """Nor removed, nor written again; what is still as it was read is."""
    async with Scene(redis_url) as scene:
        await scene.verbs.set_schedule("x", {"every": "1h", "class": "A", "queue": "q"})
        raw, new = (
            (await scene.verbs.seen()).entries["x"],
            b'{"every":"2h","class":"A","queue":"q"}',
        )
        await redis.delete(CHANGED)

        for old, wanted in ((b"", new), (new, raw), (new, b"")):
            assert not await scene.verbs.replace("x", old, wanted)
        assert await redis.hgetall(SCHEDULES) == {b"x": raw}
        assert not await redis.exists(CHANGED)
        assert await scene.verbs.replace("x", raw, new)
        assert await redis.hgetall(SCHEDULES) == {b"x": new}
        assert await redis.smembers(CHANGED) == {b"x"}
        assert await scene.verbs.replace("x", new, b"")
        assert not await scene.verbs.replace("x", new, b"")
        assert await scene.verbs.replace("x", b"", raw)


async def test_an_empty_name_is_refused(redis_url: str) -> None:
    """A schedule has a name."""
    async with Scene(redis_url) as scene:
        with pytest.raises(InvalidSchedule, match="name"):
            await scene.verbs.set_schedule("", {"every": "1s"})


# -- pause and trigger --


async def test_pause_resume_trigger(redis_url: str) -> None:
    """A paused schedule leaves its times out; triggered, its job comes at once."""
    async with Scene(redis_url) as scene:
        await scene.put("x", every="1s")
        assert await scene.verbs.pause("x")
        await scene.until(3)
        assert await scene.count() == 0
        assert await scene.verbs.trigger("x")
        assert await scene.jobs() == [b'{"class":"Job","args":[]}']
        assert await scene.verbs.resume("x")
        assert not await scene.verbs.resume("x")
        await scene.until(5)
        assert await scene.count() == 3
        with pytest.raises(UsageError, match="schedules: x"):
            await scene.verbs.trigger("y")


# -- details --


def test_the_text_of_the_times() -> None:
    """What people are shown."""
    assert parse("a", b'{"class":"J","cron":"* * * * *"}').timing == "* * * * *"
    assert parse("a", b'{"class":"J","every":["1h",{"first_in":"5s"}]}').timing == (
        'every ["1h",{"first_in":"5s"}]'
    )


def test_the_zone_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """TZ first, then the link, then UTC."""
    link = tmp_path / "localtime"
    monkeypatch.setenv("TZ", ":Asia/Tokyo")
    assert machine_zone(link) == "Asia/Tokyo"
    monkeypatch.delenv("TZ")
    assert machine_zone(link) == "UTC"
    target = tmp_path / "zoneinfo" / "Europe" / "Berlin"
    target.parent.mkdir(parents=True)
    target.touch()
    link.symlink_to(target)
    assert machine_zone(link) == "Europe/Berlin"
