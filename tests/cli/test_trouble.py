"""What goes wrong on the way to Redis is one line and an exit code, in every command; no traceback."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from redis import Redis

from resqpy.cli.output.printing import Exit
from resqpy.embedded import PrivateServer
from tests.cli.conftest import Call

LOOKS = ("queues", "jobs", "delayed", "failed", "workers", "locks", "stats", "schedule", "leader",
         "info", "top --rounds 1", "doctor", "healthcheck", "pause", "resume",
         "failed show abc", "task explain sendMail", "task enqueue sendMail to=a@b")  # fmt: skip


@pytest.fixture(scope="module")
def guarded() -> Iterator[Redis]:
    """A Redis with a password, an observer and somebody who may do nothing of ours."""
    with PrivateServer(config=["requirepass secret"]) as server:
        client = Redis.from_url(server.url.replace("unix://", "unix://:secret@"))
        client.acl_setuser("viewer", enabled=True, passwords=["+v"], keys=["resque:*"],
                           commands=["+ping", "+info"], categories=["+@read"])  # fmt: skip
        client.acl_setuser("stranger", enabled=True, passwords=["+v"], keys=["other:*"],
                           commands=["+ping", "+info"])  # fmt: skip
        yield client


def _url(client: Redis, login: str) -> str:
    return f"unix://{login}{client.get_connection_kwargs()['path']}?db=0"


@pytest.mark.parametrize(
    ("url", "code", "words"),
    [
        ("redis://127.0.0.1:1/0", Exit.REDIS, "cannot reach Redis"),
        ("http://127.0.0.1/", Exit.REDIS, "must specify one of the following schemes"),
        ("redis://127.0.0.1/zero", Exit.REDIS, "the database 'zero' is not a number"),
        ("unix:///nowhere/redis.sock", Exit.REDIS, "cannot reach Redis"),
    ],
)
def test_a_wrong_url_is_told(resqpy: Call, url: str, code: Exit, words: str) -> None:
    """Whatever is wrong with it."""
    for command in LOOKS:
        said = resqpy(*command.split(), "--redis", url)

        assert (said.code, "Traceback" in said.err) == (code, False), command
        assert words in said.err


@pytest.mark.parametrize("login", ["", ":wrong@"])
def test_a_wrong_password_is_told(resqpy: Call, guarded: Redis, login: str) -> None:
    """Or none."""
    words = "rejects the login"
    for command in LOOKS:
        said = resqpy(*command.split(), "--redis", _url(guarded, login))

        assert (said.code, words in said.err, "Traceback" in said.err) == (Exit.REDIS, True, False)
    gc.unfreeze()
    gc.collect()  # a connection that was left open would warn


def test_a_stranger_is_told_what_is_missing(resqpy: Call, guarded: Redis) -> None:
    """The command and its key."""
    url = _url(guarded, "stranger:v@")

    for command in [each for each in LOOKS if each not in {"healthcheck", "doctor"}]:
        said = resqpy(*command.split(), "--redis", url)

        assert (said.code, "NOPERM" in said.err) == (Exit.REDIS, True), command
        assert "the user may not run" in said.err


def test_doctor_says_what_it_could_not_look_at(resqpy: Call, guarded: Redis) -> None:
    """For each check; that alone is nothing grave."""
    said = resqpy("doctor", "--redis", _url(guarded, "stranger:v@"), "--json")

    looked = [each["problem"] for each in said.json if each["name"] == "not looked at"]

    assert said.code == 0
    assert {each.partition(":")[0] for each in looked} >= {
        "its clock", "the leaders", "workers", "failed jobs", "keys that belong to nothing",
    }  # fmt: skip


def test_doctor_judges_ages_by_its_own_clock_where_redis_tells_none(
    resqpy: Call, guarded: Redis
) -> None:
    """A user who may read and may not ask for the time still hears of overdue jobs."""
    guarded.zadd("resque:delayed_queue_schedule", {"1000000000": 1_000_000_000})
    guarded.rpush("resque:delayed:1000000000", '{"class":"a","queue":"q","args":[]}')

    said = resqpy("doctor", "--redis", _url(guarded, "viewer:v@"), "--json")

    problems = [f"{each['name']}: {each['problem']}" for each in said.json]
    assert [each for each in problems if each.startswith("overdue: 1 delayed job")]
    [clock] = [each for each in problems if each.startswith("not looked at: its clock")]
    assert clock.endswith("ages are based on this machine's clock")


def test_a_key_of_another_kind_is_named(resqpy: Call, client: Redis) -> None:
    """By each command that meets it, which goes on."""
    client.sadd("resque:queues", "mail", "odd")
    client.set("resque:queue:odd", "no list")
    client.set("resque:pause-all-workers", "true")

    said = {command: resqpy(*command.split()) for command in ("queues", "info", "jobs", "doctor")}

    assert [(each.code, "Traceback" in each.err) for each in said.values()] == [
        (Exit.OK, False), (Exit.OK, False), (Exit.OK, False), (Exit.NO, False),
    ]  # fmt: skip
    named = re.compile(r"\bodd\W.*not a list \(string\)")
    assert all(named.search(each.out + each.err) for each in said.values())
    assert "paused" in said["doctor"].out


def test_binary_junk_is_shown(resqpy: Call, client: Redis) -> None:
    """Names and entries that are no text break no command, and can be printed."""
    for key, junk in (
        ("queues", b"\xff\xfe"),
        ("workers", b"\xff:1:\xfe"),
        ("failed_queues", b"\xfd"),
    ):
        client.sadd(f"resque:{key}", junk)
    client.rpush(b"resque:queue:\xff\xfe", b"\xff\x00{", b"[]", b'{"class":5}')
    client.rpush("resque:failed", b"\xff\x00{", b"{}", b"null")
    client.zadd("resque:delayed_queue_schedule", {b"\xffabc": 5, b"12": 12})
    client.rpush("resque:delayed:12", b"\xff")
    client.set(b"resque:lock:\xff:q:[]", b"\xff")
    client.set(b"resque:worker:\xff:1:\xfe", b"\xff")
    client.set(b"resque:stat:processed:\xff", b"much")
    client.hset("resque:persistent_schedules", b"\xff", b"\xff")

    for command in LOOKS:
        for more in ([], [] if command.startswith("top") else ["--json"]):
            said = resqpy(*command.split(), *more)
            assert "unexpected" not in said.err, (command, said.err)
            said.out.encode()


def test_a_queue_whose_name_is_no_text_is_worked_by_none(resqpy: Call, client: Redis) -> None:
    """The remedy of doctor can be printed, too."""
    client.sadd("resque:queues", b"\xff")
    client.rpush(b"resque:queue:\xff", b'{"class":"a","args":[]}')

    said = resqpy("doctor")

    assert "--queues '\\udcff,*'" in said.out


def test_times_that_no_calendar_has_are_shown(resqpy: Call, client: Redis) -> None:
    """Numbers that somebody wrote by mistake are no dates, and break no command."""
    client.set("resque:lock:a:q:[]", 10**20)
    client.sadd("resque:workers", "node-host:7:q")
    client.set("resque:worker:ping:node-host:7", '{"time":1e300,"name":"node-host:7","queues":"q"}')
    client.zadd("resque:delayed_queue_schedule", {"99999999999999": 5})
    client.rpush("resque:delayed:99999999999999", b'{"class":"a","queue":"q","args":[]}')
    rare = '{"class":"A","every":"99999999999d","queue":"q"}'
    client.hset("resque:persistent_schedules", "rare", rare)

    for command in (*LOOKS, "schedule fires"):
        for more in ([], [] if command.startswith("top") else ["--json"]):
            said = resqpy(*command.split(), *more)
            assert "unexpected" not in said.err, (command, said.err)


def test_a_reader_that_goes_away_is_no_error(environ: dict[str, str], client: Redis) -> None:
    """`resqpy jobs | head -1` ends with 0, in silence."""
    client.sadd("resque:queues", "mail")
    client.rpush("resque:queue:mail", *[b'{"class":"mail","args":[]}'] * 5000)

    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m resqpy.cli jobs --limit 5000 | head -1; exit ${{PIPESTATUS[0]}}"],
        env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr, done.stdout.split()) == (
        0,
        "",
        ["queue", "class", "args"],
    )
