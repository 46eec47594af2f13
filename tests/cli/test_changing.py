"""Commands that change jobs: the dry run tells what the act does, and what did less than asked says so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis import Redis as Client
from redis.asyncio import Redis

from resqpy import Queue
from resqpy.cli.output.printing import Exit
from tests.cli.conftest import Call
from tests.unit.test_job_filter import SAME

ARGS = '{"to":"ü/é","n":1}'
FIRST = 4_000_000_000
FAILED = (
    b'{"failed_at":"2026/11/20 19:27:20 CET","payload":{"class":"%s","args":[1]},'
    b'"exception":"RuntimeError","error":"%s","backtrace":[],"worker":"w:1:q","queue":"q"}'
)


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[Queue]:
    """A queue on the test's Redis."""
    async with Queue(redis_url) as made:
        yield made


def fill(client: Client) -> None:
    """The same job four times in a queue, and four times delayed, in other spellings."""
    client.sadd("resque:queues", "q")
    client.rpush("resque:queue:q", *SAME)
    for n, raw in enumerate(SAME):
        client.rpush(f"resque:delayed:{FIRST + n}", raw[:-1] + b',"queue":"q"}')
        client.zadd("resque:delayed_queue_schedule", {str(FIRST + n): FIRST + n})


@pytest.mark.parametrize(
    ("command", "done"),
    [
        ("jobs remove q", "removed"),
        ("jobs move q r", "moved"),
        ("delayed remove", "removed"),
        ("delayed run", "enqueued"),
    ],
)
def test_a_dry_run_says_what_is_done(command: str, done: str, resqpy: Call, client: Client) -> None:
    """As many, whichever language wrote them; and the second time there is none."""
    fill(client)
    ask = (*command.split(), "--class", "Mail", "--args", ARGS, "--json")

    listed = resqpy(*command.split()[:1], "list", *ask[-5:]).json
    tried, acted, again = resqpy(*ask, "--dry-run"), resqpy(*ask, "--yes"), resqpy(*ask, "--yes")

    assert len(listed) == tried.json["found"] == acted.json[done] == 4
    assert (tried.code, acted.code, again.code) == (Exit.OK, Exit.OK, Exit.NO)
    assert tried.json[done] == again.json[done] == 0
    assert tried.json["looked_at"] == 4


@pytest.mark.parametrize(
    ("command", "near"),
    [
        ("jobs remove q --class Mial", "'Mail'"),
        ("jobs remove q --class Mail --args [2]", "args"),
        ("jobs move q r --class Mail --args [2]", "args"),
        ("jobs remove empty --class Mail", "in the queue 'q'"),
        ("delayed remove --class Mail --queue other", "queue"),
        ("delayed run --class Mail --args [2]", "args"),
        ("failed remove --class Mial", "'Mail'"),
        ("failed retry --exception RuntimError", "'RuntimeError'"),
        ("failed retry --class Mail --queue other", "'other'"),
        ("delayed remove --at 4000000000500", "2096-10-02 07:06:42 UTC"),
        ("delayed run --at 4000000999000", "2096-10-02 07:06:43 UTC"),
        ("workers clean --older-than 1h", "none has run its job for that long"),
    ],
)
@pytest.mark.parametrize("way", ["--dry-run", "--yes"])
def test_what_is_meant_by_nobody(
    command: str, near: str, way: str, resqpy: Call, client: Client
) -> None:
    """Exit code 6, and what is nearest."""
    fill(client)
    client.sadd("resque:queues", "empty")
    client.rpush("resque:failed", FAILED % (b"Mail", b"no"))
    client.delete(f"resque:delayed:{FIRST}", f"resque:delayed:{FIRST + 1}")
    before = client.dbsize()

    said = resqpy(*command.split(), way)

    assert said.code == Exit.NO
    assert near in said.out
    assert client.dbsize() == before


@pytest.mark.parametrize(
    ("command", "near"),
    [
        ("queues delete qq", "'q'"),
        ("jobs remove qq --class Mail", "'q'"),
        ("workers clean hots:7", "'host:7'"),
        ("workers clean host:7:r", "'host:7'"),
        ("workers cancel host:8:q", "'host:7:q'"),
        ("locks remove lock:Mial:q:[]", "'lock:Mail:q:[]'"),
        ("schedule pause tikc", "'tick'"),
    ],
)
def test_a_name_that_nothing_has(command: str, near: str, resqpy: Call, client: Client) -> None:
    """Exit code 5, with the name that is nearest; nothing is changed."""
    client.sadd("resque:queues", "q")
    client.sadd("resque:workers", "host:7:q")
    client.set(
        "resque:worker:host:7:q", '{"queue":"q","run_at":"x","payload":{"class":"A","args":[]}}'
    )
    client.set("resque:lock:Mail:q:[]", FIRST, ex=99)
    client.hset("resque:schedules", "tick", '{"every":"1m","class":"A","queue":"q"}')
    client.hset("resque:persistent_schedules", "tick", '{"every":"1m","class":"A","queue":"q"}')
    before = client.dbsize()

    said = resqpy(
        *command.split(), *([] if "cancel" in command or "pause" in command else ["--yes"])
    )

    assert (said.code, near in said.err) == (Exit.NOT_FOUND, True)
    assert client.dbsize() == before


def test_a_lock_that_is_gone_meanwhile(
    resqpy: Call, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not removed, whatever the question was answered."""
    client.set("resque:lock:Mail:q:[]", FIRST)
    monkeypatch.setattr(
        "resqpy.cli.output.printing.confirm", lambda _: client.delete("resque:lock:Mail:q:[]")
    )

    said = resqpy("locks", "remove", "lock:Mail:q:[]", "--json")

    assert (said.code, said.json["removed"]) == (Exit.NO, 0)


def test_only_some_are_enqueued(resqpy: Call, root: Path) -> None:
    """A task's lock lets one of three equal jobs in, and a script sees that it is fewer."""
    (root / "tasks" / "one.py").write_text(
        "from resqpy import task\n\n\n@task(plugins=['QueueLock'])\ndef one(): 'One.'\n"
    )
    said = resqpy("task", "enqueue", "one", "--count", "3", "--json")

    assert (said.code, said.json["enqueued"]) == (Exit.NO, 1)


def test_what_is_no_queue_is_not_deleted(resqpy: Call, client: Client) -> None:
    """A sorted set under a queue's name is another program's; sub-queues are queues of their own."""
    client.sadd("resque:queues", "odd", "q")
    client.zadd("resque:queue:odd", {"x": 1})
    client.rpush("resque:queue:q^5", SAME[0])

    refused = resqpy("queues", "delete", "odd", "--yes")
    empty = resqpy("queues", "delete", "q", "--yes", "--json")

    assert (refused.code, client.zcard("resque:queue:odd")) == (Exit.REDIS, 1)
    assert client.sismember("resque:queues", "odd")
    assert (empty.code, empty.json["jobs"], client.llen("resque:queue:q^5")) == (Exit.OK, 0, 1)


@pytest.mark.parametrize("junk", [b"\xd8\xff", b"line\nof\ttext", b"\x00\x1b[31m", b"\xed\xa0\x80"])
def test_junk_in_an_error_stops_no_retry(junk: bytes, resqpy: Call, client: Client) -> None:
    """The job beside it is intact: it goes back by its class and by its id, with its exact bytes."""
    job = b'{"class":"Ok","args":[1]}'
    for way in ("class", "id"):
        client.rpush("resque:failed", FAILED % (b"Ok", b"body " + junk))
        [entry] = resqpy("failed", "--json").json
        chosen = ("--class", "Ok") if way == "class" else (entry["id"],)

        assert resqpy("failed", "retry", *chosen, "--dry-run", "--json").json["found"] == 1
        assert resqpy("failed", "retry", *chosen, "--yes").code == Exit.OK
        assert resqpy("failed", "show", entry["id"]).code == Exit.NOT_FOUND
    assert client.lrange("resque:queue:q", 0, -1) == [job, job]


def test_a_retry_that_did_less_says_so(resqpy: Call, client: Client) -> None:
    """An entry without a job stays, and nobody is told to remove it."""
    client.rpush(
        "resque:failed", FAILED % (b"Ok", b"no"), b'{"payload":5,"queue":"q","exception":"E"}'
    )

    said = resqpy("failed", "retry", "--all", "--yes")

    assert (said.code, client.llen("resque:failed")) == (Exit.NO, 1)
    assert said.out.startswith("1 failed job retried; 1 of 2")
    assert "remove" not in said.out + said.err


def test_what_others_wrote_is_shown(resqpy: Call, client: Client) -> None:
    """A backtrace that is a text, and arguments that are no list."""
    client.rpush(
        "resque:failed",
        b'{"payload":{"class":"A","args":42},"queue":"q","error":"e","backtrace":"one\\n  two"}',
    )
    [entry] = resqpy("failed", "--json").json

    shown = resqpy("failed", "show", entry["id"])

    assert entry["args"] == [42]
    assert shown.out.splitlines()[-2:] == ["  one", "    two"]
    assert "[42]" in shown.out


async def test_what_is_gone_meanwhile_is_told(
    queue: Queue, redis: Redis, resqpy: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker takes jobs between the question and the answer."""
    import asyncio

    await queue.enqueue_many([("q", "Mail", [n]) for n in range(3)])

    def yes(_: str) -> None:
        with Client.from_url(queue.store.options.url) as client:
            client.lpop("resque:queue:q", 2)

    monkeypatch.setattr("resqpy.cli.output.printing.confirm", yes)
    said = await asyncio.to_thread(resqpy, "jobs", "remove", "q", "--class", "Mail")

    assert said.code == Exit.NO
    assert said.out.startswith("1 job removed; 2 of 3 were gone meanwhile")


@pytest.mark.parametrize("given", ["now", "+1d", "-2h", "+90", "2030-01-31T12:00"])
def test_times_as_people_give_them(given: str, resqpy: Call) -> None:
    """From now on, too."""
    assert resqpy("schedule", "--from", given).code == Exit.OK
    assert resqpy("schedule", "--from", "soon").code == Exit.USAGE


@pytest.mark.parametrize("given", ["5", "+1d", "1.5h", "+5s"])
def test_durations_as_people_give_them(given: str, resqpy: Call, client: Client) -> None:
    """With a sign or without."""
    assert resqpy("task", "enqueue", "sendMail", "to=a@b", "--in", given).code == Exit.OK


def test_old_and_retried_failed_jobs_are_removed(resqpy: Call, client: Redis) -> None:
    """By their age; with a filter; ids need none of that."""
    client.rpush("resque:failed", FAILED % (b"Mail", b"no"), FAILED % (b"Other", b"no"))
    dry = resqpy(
        "failed", "remove", "--older-than", "1d", "--class", "Mail", "--dry-run", "--json"
    ).json
    young = resqpy("failed", "remove", "--older-than", "100000d", "--yes")
    none = resqpy("failed", "remove", "--retried", "--yes")
    done = resqpy("failed", "remove", "--older-than", "1d", "--yes", "--json").json
    wrong = resqpy("failed", "remove", "--older-than", "soon", "--yes")

    assert dry["found"] == 1
    assert (young.code, none.code) == (Exit.NO, Exit.NO)
    assert (done["found"], done["removed"]) == (2, 2)
    assert resqpy("failed", "--json").json == []
    assert wrong.code == Exit.USAGE


def test_a_watched_retry(resqpy: Call, client: Redis) -> None:
    """It has a pace of its own, and retries what is chosen; where no worker takes it, only the first."""
    client.rpush("resque:failed", *(FAILED % (b"Mail", b"no %d" % n) for n in range(4)))
    some = resqpy("failed", "retry", "--class", "Mail", "--watch", "1ms", "--yes", "--json")
    done = resqpy("failed", "retry", "--class", "Mail", "--watch", "0", "--yes", "--json")

    assert (some.code, some.json["retried"], "still waits" in some.err) == (Exit.NO, 1, True)
    assert (done.code, done.json["retried"]) == (Exit.OK, 3)
    assert resqpy("failed", "retry", "ab", "--watch", "1s").code == Exit.USAGE
    assert resqpy("failed", "retry", "--all", "--watch", "1s", "--rate", "3").code == Exit.USAGE
