"""`resqpy doctor`, `top`, `console`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from resqpy.base.queue_age import QueueAge
from resqpy.cli.output.printing import Exit
from resqpy.embedded import PrivateServer
from tests.cli.conftest import Call, Program
from tests.support.waiting import wait_until

JOB = b'{"class":"mail","queue":"q","args":[]}'


def _two_leaders(client: Redis) -> None:
    client.set("resque:resque:resque_scheduler_master_lock", "ruby-host:1", ex=60)
    client.set("resque:resque_scheduler_leader_lock", "node-host:1", ex=60)


def _overdue(client: Redis) -> None:
    second = int(time.time()) - 3600
    client.rpush(f"resque:delayed:{second}", JOB)
    client.zadd("resque:delayed_queue_schedule", {str(second): second})


def _two_versions(client: Redis) -> None:
    known: Any = {
        "a": '["send", "send 1"]',
        "b": '["send", "send 2"]',
        "dead": '["old 1", "send 1"]',
    }
    client.hset("resque:resqpy:known_tasks", mapping=known)
    client.zadd("resque:resqpy:processes", {"a": time.time(), "b": time.time()})


def _dead_worker(client: Redis) -> None:
    client.sadd("resque:workers", "ruby-host:9:q")
    client.set(
        "resque:worker:ruby-host:9:q",
        b'{"queue":"q","run_at":"2020-01-01T00:00:00Z","payload":' + JOB + b"}",
    )
    client.hset("resque:workers:heartbeat", "ruby-host:9:q", "2020-01-01T00:00:00+00:00")
    client.set("resque:worker:ruby-host:9:q:started", "2020-01-01 00:00:00 +0000")
    client.set("resque:stat:processed:ruby-host:9:q", 5)


# What is set up, how doctor names it, and whether --fix ends it.
TROUBLES: dict[str, tuple[Callable[[Redis], Any], bool]] = {
    "two leaders": (_two_leaders, False),
    "endless leader lock": (
        lambda c: c.set("resque:resque:resque_scheduler_master_lock", "ruby-host:1"), True,
    ),
    "overdue": (_overdue, False),
    "tasks of two versions": (_two_versions, False),
    "no scheduler": (_overdue, False),
    "dead workers": (_dead_worker, True),
    "paused": (lambda c: c.set("resque:pause-all-workers", "true"), True),
    "paused queue": (
        lambda c: (c.sadd("resque:queues", "q"), c.set("resque:pause:queue:q", "true")), False,
    ),
    "unworked queue": (lambda c: (c.sadd("resque:queues", "q"), c.rpush("resque:queue:q", JOB)), False),
    "unreadable jobs": (
        lambda c: (c.sadd("resque:queues", "q"), c.rpush("resque:queue:q", b"no json")), False,
    ),
    "schedules of a ruby process": (
        lambda c: c.hset("resque:delayed:last_enqueued_at", "nightly", "2026-11-29 08:45:36 +0000"), False,
    ),
    "another ruby leader": (
        lambda c: c.set("resque:resque:blue:resque_scheduler_master_lock", "ruby-host:2", ex=99), False,
    ),
    "delayed jobs of another client": (
        lambda c: (c.rpush("resque:delayed:9999999999", JOB),
                   c.zadd("resque:delayed_queue_schedule", {"9999999999": 9999999999})), False,
    ),
    "counters that are no numbers": (lambda c: c.set("resque:stat:processed", "many"), False),
    "unreadable failed entries": (lambda c: c.rpush("resque:failed", b"\xff no json"), False),
    "unlisted queues": (lambda c: c.rpush("resque:queue:hidden", JOB), True),
    "lost delayed jobs": (lambda c: c.rpush("resque:delayed:9999999999", JOB), True),
    "empty times": (lambda c: c.zadd("resque:delayed_queue_schedule", {"9999999999": 9999999999}), True),
    "orphan timestamps": (
        lambda c: c.sadd(b"resque:timestamps:" + JOB, "delayed:9999999999"), True,
    ),
    "endless locks": (lambda c: c.set("resque:lock:mail:q:[]", int(time.time()) + 1000), True),
    "records of unknown workers": (
        lambda c: c.set("resque:worker:host+1-abcd1234:1:q", '{"queue":"q"}'), False,
    ),
    "other installations": (lambda c: c.sadd("shop:queues", "q"), False),
}  # fmt: skip


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_trouble_is_named_and_put_right(resqpy: Call, client: Redis, trouble: str) -> None:
    """With a remedy; --fix ends what can be ended, and its dry run changes nothing."""
    set_up, fixable = TROUBLES[trouble]
    set_up(client)
    before = _all_of_it(client)

    found = _found(resqpy)
    tried = resqpy("doctor", "--fix", "--dry-run")
    unchanged = _all_of_it(client)
    fixed = resqpy("doctor", "--fix", "--yes", "--json")

    assert found[trouble]["remedy"]
    assert found[trouble]["fixable"] is fixable
    assert ("would be fixed" in tried.out) is fixable
    assert unchanged == before
    assert (trouble in _found(resqpy)) is not fixable
    if fixable:
        [entry] = [each for each in fixed.json if each["name"] == trouble]
        assert entry["fixed"] == 1


LEASE = "resque:resqpy:leader"
RUBY = "resque:resque:resque_scheduler_master_lock"
OURS = "h+scheduler-0abcdefg:7/1"


@pytest.mark.parametrize(
    ("locks", "words"),
    [
        ({}, "no scheduler leads: periodic tasks (ticks) and delayed jobs (2) don't run"),
        ({RUBY: "ruby:1"}, "only 'ruby:1' (Ruby): periodic tasks (ticks) don't run"),
        ({LEASE: OURS, RUBY: OURS}, None),
        ({LEASE: OURS, RUBY: "ruby:1"}, None),
        ({LEASE: OURS}, "leaves delayed jobs to Ruby's (scheduler.ruby_leads), which does not: delayed jobs (2)"),
        # a leader of ours has died, and its lock for Ruby lasts longer than its lease
        ({RUBY: OURS, "resque:resqpy:leader:foreign": OURS}, "no scheduler leads: periodic tasks"),
    ],
)  # fmt: skip
def test_what_runs_for_want_of_a_scheduler_is_not_silent(
    resqpy: Call, client: Redis, root: Path, locks: dict[str, str], words: str | None
) -> None:
    """Also before any process has announced the project's periodic tasks; delayed jobs are not late yet."""
    (root / "tasks" / "ticks.py").write_text(
        'from resqpy import task\n\n\n@task(frequency=60_000)\ndef ticks() -> None:\n    """Tick."""\n'
    )
    client.rpush("resque:delayed:9999999999", JOB, JOB)
    client.zadd("resque:delayed_queue_schedule", {"9999999999": 9999999999})
    for key, value in locks.items():
        client.set(key, value, ex=60)
    client.sadd("resque:workers", "python-host+1-0abcdefg:7:q")

    found = _found(resqpy).get("no scheduler")

    assert (found and found["grave"]) is (True if words else None)
    assert words is None or (found is not None and words in found["problem"])
    told = resqpy("task", "explain", "ticks").out
    assert ("periodic tasks don't run" in told or "periodic tasks and" in told) is (
        LEASE not in locks
    )


def test_nothing_is_said_of_a_scheduler_that_nobody_needs(resqpy: Call, client: Redis) -> None:
    """No periodic task, and nothing delayed."""
    client.ping()
    assert "no scheduler" not in _found(resqpy)


@pytest.mark.parametrize("value", ["true", "TRUE", " True\n"])
def test_a_pause_in_any_spelling_is_named(resqpy: Call, client: Redis, value: str) -> None:
    """As Ruby's workers and ours read it."""
    client.set("resque:pause-all-workers", value)

    assert "paused" in _found(resqpy)
    assert resqpy("info", "--json").json["paused"] is True
    assert resqpy("pause", "--json").json["changed"] is False


@pytest.mark.parametrize("trouble", [name for name, (_, fixable) in TROUBLES.items() if fixable])
def test_what_was_put_right_can_be_taken_back(
    resqpy: Call, client: Redis, root: Path, trouble: str
) -> None:
    """By the file that --fix names: all is as it was, whatever bytes there are."""
    TROUBLES[trouble][0](client)
    client.set("resque:stat:failed", 3)
    before = _all_of_it(client)

    fixed = resqpy("doctor", "--fix", "--yes")
    after = _all_of_it(client)
    [file] = root.glob("resqpy-undo-*.json")
    tried = resqpy("doctor", "--undo", str(file), "--dry-run", "--json")
    unchanged = _all_of_it(client)
    taken = resqpy("doctor", "--undo", str(file), "--yes")

    assert f"resqpy doctor --undo {file}" in fixed.err
    assert after == unchanged != before
    assert tried.json["changes"] >= 1
    assert taken.code == Exit.OK
    assert _all_of_it(client) == before
    assert trouble in _found(resqpy)


def test_nothing_that_came_meanwhile_is_taken_back(resqpy: Call, client: Redis, root: Path) -> None:
    """A worker that is at work again keeps what it has; what can't be done is told."""
    _dead_worker(client)
    resqpy("doctor", "--fix", "--yes")
    client.set("resque:worker:ruby-host:9:q", "a new job")
    [file] = root.glob("resqpy-undo-*.json")

    assert resqpy("doctor", "--undo", str(file), "--yes").code == Exit.OK
    assert client.get("resque:worker:ruby-host:9:q") == b"a new job"

    file.write_text('{"undo": [{"commands": [["FLUSHALL", "resque:x"]]}]}')
    assert resqpy("doctor", "--undo", str(file), "--yes").code == Exit.USAGE
    file.write_text('{"undo": [{"commands": [["SET", "others:x", "1", "NX"]]}]}')
    assert resqpy("doctor", "--undo", str(file), "--yes").code == Exit.USAGE
    file.write_text("no json")
    assert resqpy("doctor", "--undo", str(file), "--yes").code == Exit.USAGE


def test_nothing_is_put_right_that_could_not_be_taken_back(
    resqpy: Call, client: Redis, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the file can't be written, nothing is changed."""
    monkeypatch.setattr(Path, "write_text", _refuse)
    _dead_worker(client)

    assert resqpy("doctor", "--fix", "--yes").code == Exit.USAGE
    assert client.scard("resque:workers") == 1


def _refuse(*_: object, **__: object) -> None:
    raise PermissionError("read-only")


def _all_of_it(client: Redis) -> dict[Any, Any]:
    """Every key with its bytes, and whether it ends."""
    return {key: (client.dump(key), client.ttl(key) > 0) for key in client.keys("*")}


def _found(resqpy: Call) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in resqpy("doctor", "--json").json}


def test_a_lock_gets_the_end_that_it_says(resqpy: Call, client: Redis) -> None:
    """QueueLock's value is its end; one that is no time gets a short one."""
    client.set("resque:lock:a:q:[]", int(time.time()) + 1000)
    client.set("resque:workerslock:b:q:[]", "true")

    resqpy("doctor", "--fix", "--yes")

    assert 990 < client.ttl("resque:lock:a:q:[]") <= 1000
    assert 170 < client.ttl("resque:workerslock:b:q:[]") <= 180


def test_what_a_ruby_part_lacks_is_told_by_who_leads(resqpy: Call, client: Redis) -> None:
    """Schedules that rest while we lead, and a Ruby leader under another prefix: by name."""
    client.hset("resque:delayed:last_enqueued_at", "nightly", "2026-11-29 08:45:36 +0000")
    client.set("resque:resque:resque_scheduler_master_lock", "ruby-host:1", ex=99)
    calm = resqpy("leader").err
    for key in ("resque:resqpy:leader", "resque:resque:resque_scheduler_master_lock"):
        client.set(key, "host+scheduler-0abcdefg:7/1", ex=99)
    client.set("resque:resque:blue:resque_scheduler_master_lock", "ruby-host:2", ex=99)

    said = resqpy("leader")

    assert calm == ""
    assert "'nightly'" in said.err
    assert "ruby-host:2" in said.err
    assert "blue" in said.err
    assert _found(resqpy)["schedules of a ruby process"]["grave"] is True
    [entry] = resqpy("schedule", "--json").json
    assert (entry["name"], entry["state"], entry["last"][:10]) == (
        "nightly",
        "inactive",
        "2026-11-29",
    )


@pytest.mark.parametrize("record", [True, False])
def test_a_worker_without_signs_is_left_alone(resqpy: Call, client: Redis, *, record: bool) -> None:
    """PHP's and older Ruby's have neither heartbeat nor ping: whether they live can't be told."""
    worker = "box:4711:mail"
    client.sadd("resque:queues", "mail")
    client.rpush("resque:queue:mail", JOB)
    client.sadd("resque:workers", worker)
    client.set(f"resque:worker:{worker}:started", "Sun Nov 29 08:45:36 CET 2020")
    if record:
        client.set(
            f"resque:worker:{worker}",
            b'{"queue":"mail","run_at":"Sun Nov 29 08:45:36 CET 2020","payload":' + JOB + b"}",
        )
    before = {key: client.dump(key) for key in client.keys("*")}

    found = _found(resqpy)
    resqpy("doctor", "--fix", "--yes")

    assert found["workers without signs"]["fixable"] is False
    assert found["workers without signs"]["grave"] is False
    assert "dead workers" not in found
    assert "unworked queue" not in found
    assert {key: client.dump(key) for key in client.keys("*")} == before
    assert "can't tell" in resqpy("workers").out
    assert "none lives" not in resqpy("task", "explain", "sendMail", "--queue", "mail").out


@pytest.mark.parametrize(
    ("silent_s", "shown", "grave"),
    [(200, None, None), (400, "silent workers", False), (4000, "dead workers", True)],
)
def test_a_silent_ruby_worker(
    resqpy: Call, client: Redis, silent_s: int, shown: str | None, grave: bool | None
) -> None:
    """Its shop may beat seldom: one look at five minutes of silence ends no job; nor does an hour where
    a lock shows that it beats once in half an hour.
    """
    _dead_worker(client)
    beat = datetime.now(UTC) - timedelta(seconds=silent_s)
    client.hset("resque:workers:heartbeat", "ruby-host:9:q", beat.isoformat(timespec="seconds"))
    kinds = {"silent workers", "dead workers"}

    found = {name: each for name, each in _found(resqpy).items() if name in kinds}
    client.set("resque:pruning_dead_workers_in_progress", "ruby-host:8:q", ex=1800)

    assert list(found) == ([shown] if shown else [])
    assert [each["grave"] for each in found.values()] == ([grave] if shown else [])
    assert all(each["fixable"] is grave for each in found.values())
    assert not kinds & set(_found(resqpy))


def test_locks_of_ruby_s_resque_lock_are_left_alone(resqpy: Call, client: Redis) -> None:
    """They have no end while their job waits or runs, so only a person can say which is stuck."""
    client.set('resque:lock:Shop::Mail-["a:[b]", 1]', "true")

    resqpy("doctor", "--fix", "--yes")
    found = _found(resqpy)

    assert client.ttl('resque:lock:Shop::Mail-["a:[b]", 1]') == -1
    assert "endless locks" not in found
    assert found["locks of resque-lock"]["grave"] is False
    assert "Shop::Mail" in found["locks of resque-lock"]["problem"]


def test_dead_workers_of_resqpy_are_left_to_its_scheduler(resqpy: Call, client: Redis) -> None:
    """It takes their jobs back, where --fix would fail them; foreign ones are told apart from them."""
    ours = "python-host+1-0abcdefg:7:q"
    _dead_worker(client)
    client.sadd("resque:workers", ours)

    fixed = resqpy("doctor", "--fix", "--yes")

    assert fixed.code == Exit.NO
    assert "resqpy workers clean WORKER: its job goes to the failed list (1)" in fixed.out
    assert client.smembers("resque:workers") == {ours.encode()}
    assert _found(resqpy)["dead resqpy workers"]["fixable"] is False
    assert "dead workers" not in _found(resqpy)


def test_what_was_done_is_told(resqpy: Call, client: Redis) -> None:
    """The words of --fix and of its dry run say what becomes of a lock without an end."""
    client.set("resque:workerslock:b:q:[]", "true")

    tried = resqpy("doctor", "--fix", "--dry-run")
    fixed = resqpy("doctor", "--fix", "--yes")

    words = "set the expiry in each lock's value, else 3 minutes"
    assert f"would be fixed: {words}" in tried.out
    assert f"fixed: {words} (1)" in fixed.out


def test_an_installation_in_which_all_is_well(
    resqpy: Call, client: Redis, program: Program
) -> None:
    """Nothing grave is found where a worker and a scheduler live; exit code 0."""
    worker = program("worker", "--scheduler")
    wait_until(lambda: client.get("resque:resqpy:leader") and client.scard("resque:workers"))

    said = resqpy("doctor")
    worker.terminate()

    assert (said.code, "✗" in said.out) == (0, False), said.out


def test_an_evicting_redis_is_named(resqpy: Call) -> None:
    """Such a Redis throws jobs away when it is full."""
    with PrivateServer(config=["maxmemory 100mb", "maxmemory-policy allkeys-lru"]) as server:
        said = resqpy("doctor", "--redis", server.url)

    assert said.code == Exit.NO
    assert "maxmemory-policy is allkeys-lru" in said.out


def test_a_redis_that_takes_no_writes_is_named(resqpy: Call, tmp_path: Path) -> None:
    """A read-only replica, one without memory, one without a disk: they answer every question."""
    (gone := tmp_path / "gone").mkdir()
    config = ["replicaof 127.0.0.1 1", "maxmemory 100kb", f"dir {gone}"]
    with PrivateServer(config=config) as server, Redis.from_url(server.url) as client:
        shutil.rmtree(gone)
        client.bgsave()
        while client.info("persistence")["rdb_bgsave_in_progress"]:
            time.sleep(0.01)
        said = resqpy("doctor", "--redis", server.url)

    assert said.code == Exit.NO
    assert "replica: this Redis is a read-only replica of 127.0.0.1:1" in said.out
    assert "of its 102,400 bytes (maxmemory)" in said.out
    assert "disk: Redis failed to write to its disk (rdb_last_bgsave_status)" in said.out


def test_a_redis_without_a_disk_is_named(resqpy: Call) -> None:
    """Worth knowing, nothing grave: exit code 0."""
    with PrivateServer() as server:
        said = resqpy("doctor", "--redis", server.url)

    assert (said.code, said.out.partition(":")[0]) == (0, "! persistence")


def test_another_clock_is_named(
    resqpy: Call, client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Times of delayed jobs come from this machine, those of locks from Redis."""
    from resqpy.diagnosis import doctor

    client.ping()

    class Fast:
        @staticmethod
        def now_ms() -> int:
            return time.time_ns() // 1_000_000 + 60_000

    monkeypatch.setattr(doctor, "SYSTEM_CLOCK", Fast)

    assert "ahead of Redis'" in _found(resqpy)["clock skew"]["problem"]


def test_many_failed_jobs_are_named(
    resqpy: Call, client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody looks at so many."""
    from resqpy.diagnosis import doctor

    monkeypatch.setattr(doctor, "MANY_FAILED", 3)
    client.rpush("resque:failed", *[b"{}"] * 3)

    found = _found(resqpy)["many failed jobs"]

    assert (found["problem"].partition(":")[0], found["grave"]) == ("3 failed jobs", False)


def test_many_keys_of_others_are_looked_at_in_steps(resqpy: Call, client: Redis) -> None:
    """No command of the walk holds Redis for long, and none of the others' keys is read."""
    client.eval("for n = 1, 100000 do redis.call('SET', 'other:' .. n, n) end", 0)
    client.rpush("resque:queue:hidden", JOB)
    client.config_resetstat()
    before = client.config_get("slowlog-*")
    client.config_set("slowlog-max-len", 10_000, "slowlog-log-slower-than", 0)  # all commands
    client.slowlog_reset()

    found = _found(resqpy)
    calls = client.info("commandstats")
    commands = [each["command"] for each in client.slowlog_get(10_000)]
    for name, value in before.items():
        client.config_set(str(name), str(value))

    assert "unlisted queues" in found
    assert calls["cmdstat_scan"]["calls"] >= 50
    walk = [each.split() for each in commands if each.startswith(b"SCAN ")]
    assert max(int(each[each.index(b"COUNT") + 1]) for each in walk) <= 2000
    assert not any(b"other:" in each for each in commands)
    assert "cmdstat_keys" not in calls


def test_nothing_is_put_right_unasked(resqpy: Call, client: Redis) -> None:
    """Off a terminal --fix needs --yes."""
    client.set("resque:pause-all-workers", "true")

    said = resqpy("doctor", "--fix")

    assert (said.code, client.get("resque:pause-all-workers")) == (Exit.USAGE, b"true")


# -- top, console --


def test_data_that_are_older_than_redis(resqpy: Call, client: Redis) -> None:
    """A dump may have been restored; not where a worker lives, nor where none has ever been."""
    now_s, found = int(client.time()[0]), list[bool]()
    for seen_s in (None, now_s - 10_000_000, now_s):
        if seen_s is not None:
            client.zadd("resque:resqpy:processes", {"abcd1234": seen_s})
        names = [each["name"] for each in resqpy("doctor", "--json").json]
        found.append("old data" in names)

    assert found == [False, True, False]


def test_top_shows_rates(resqpy: Call, client: Redis) -> None:
    """Two looks give a rate; off a terminal a number of looks must be said."""
    client.sadd("resque:queues", "mail")
    client.rpush("resque:queue:mail", JOB)

    refused = resqpy("top")
    said = resqpy("top", "--rounds", "2", "--interval", "20ms")

    assert refused.code == Exit.USAGE
    assert "processed 0 (0/s)" in said.out
    assert "\x1b" not in said.out
    assert "mail" in said.out


def test_top_shows_since_when_jobs_wait(resqpy: Call, client: Redis) -> None:
    """As far as a leader knows it, and when the queue is empty."""
    client.sadd("resque:queues", "mail", "bulk")
    client.rpush("resque:queue:mail", JOB)
    client.rpush("resque:queue:bulk", JOB, JOB)
    before = resqpy("top", "--rounds", "1").out
    now_ms = int(client.time()[0]) * 1000
    age = QueueAge(now_ms, 1, now_ms - 3_600_000, 1000, "exact", 1, 0, 0.0, 0.5, counted=True)
    client.hset("resque:resqpy:ages", mapping={"": now_ms, "mail": age.text()})
    after = resqpy("top", "--rounds", "1").out

    assert [line.split() for line in before.splitlines() if line.startswith(("bulk", "mail"))] == [
        ["bulk", "2", "?", "-", "█" * 24], ["mail", "1", "?", "-", "█" * 12],
    ]  # fmt: skip
    [told] = [line.split() for line in after.splitlines() if line.startswith("mail")]
    assert told[:4] == ["mail", "1", "1", "h"]
    assert told[-2:] == ["s", "█" * 12]


def test_console_runs_code_in_the_started_project(resqpy: Call, client: Redis) -> None:
    """`await` is allowed, the project's tasks have their names."""
    said = resqpy("console", "-c", "await SendMail.enqueue(to='ada@example.com')")

    assert (said.code, said.out) == (0, "Enqueued(refused=None, id=None)\n")
    assert client.llen("resque:queue:default") == 1


def test_console_reads_lines(environ: dict[str, str]) -> None:
    """Values are shown, errors have no frames of ours, and its end is the end of input."""
    done = subprocess.run(
        [sys.executable, "-m", "resqpy.cli", "console"],
        input="n = await api.tasks.failed_count()\nn + 41\n1/0\n",
        env={**environ, "RESQPY_ENV": "development"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert "41" in done.stdout
    assert "ZeroDivisionError" in done.stderr
    assert "prompt.py" not in done.stderr


def test_a_bundle_for_support(resqpy: Call, client: Redis, tmp_path: Path) -> None:
    """The state in one file, for its owner's eyes, without what jobs carry; it overwrites nothing."""
    job = '{"class":"SendMail","queue":"mail","args":[{"to":"canary@home","password":"canary"}]}'
    client.sadd("resque:queues", "mail")
    client.rpush("resque:queue:mail", job)
    client.rpush(
        "resque:failed",
        f'{{"failed_at":"2026/11/20 19:27:20 UTC","payload":{job},"exception":"E","error":"canary",'
        '"backtrace":["canary"],"worker":"h:1:mail","queue":"mail"}',
    )
    client.sadd("resque:workers", "ruby:1:mail")
    client.set("resque:worker:ruby:1:mail", f'{{"queue":"mail","payload":{job}}}')
    client.set('resque:lock:SendMail-["canary"]', "true")  # resque-lock's
    client.set('resque:lock:SendMail:mail:["canary"]', "9")  # endless
    client.set('resque:queuelock:SendMail:mail:["canary"]', "junk")
    limits: dict[Any, Any] = {"{task}SendMail": "SendMail:to\tto", "{limit}SendMail:to": 0}
    client.hset("resque:resqpy:limits", mapping=limits)
    client.zadd("resque:resqpy:limits:parked", {"SendMail:to=canary\nmail": 1_700_000_000_000})
    client.sadd("resque:resqpy:limits:queues:SendMail:to=canary", "mail")
    client.rpush("resque:resqpy:limits:jobs:18:SendMail:to=canary:mail", job)
    client.sadd("resque:queues", "canary-less")
    client.set("resque:queue:canary-less", "canary")
    client.set("resque:stat:failed", "canary")
    path = tmp_path / "support.json"
    said, again = resqpy("doctor", "--bundle", str(path)), resqpy("doctor", "--bundle", str(path))

    text = path.read_text()
    found = json.loads(text)
    assert (said.code, again.code) == (Exit.OK, Exit.USAGE)
    assert path.stat().st_mode & 0o777 == 0o600
    assert "canary" not in text.replace("canary-less", "")
    problems = {each["name"]: each for each in found["problems"]}
    assert {"locks of resque-lock", "endless locks", "limited task"} <= problems.keys()
    assert "problem" not in problems["endless locks"]
    assert "1 worker without heartbeat" in problems["workers without signs"]["problem"]
    assert found["summary"]["queues"]["mail"] == 2  # one is parked
    assert [each["class"] for each in found["failed"]] == ["SendMail"]
    assert [each["class"] for each in found["workers"]] == ["SendMail"]
    assert {"redis.url", "tasks.queues"} <= {each["path"] for each in found["settings"]}
    assert found["redis"]["memory"]["used_memory"]
    assert [name for name, part in found.items() if "error" in part] == []


@pytest.mark.parametrize(
    "words", ["--bundle F --fix", "--bundle F --dry-run", "--bundle F --jobs", "--jobs --fix", "--jobs --dry-run",
              "--undo U --fix", "--undo U --bundle F"]
)  # fmt: skip
def test_what_excludes_another_is_told(resqpy: Call, tmp_path: Path, words: str) -> None:
    """One of them would be left out in silence."""
    (tmp_path / "U").write_text("")
    given = [str(tmp_path / each) if each in "FU" else each for each in words.split()]
    said = resqpy("doctor", *given, "--yes")

    assert said.code == Exit.USAGE
    assert [each in said.err for each in given if each.startswith("--")] == [True, True]
    assert not (tmp_path / "F").exists()
