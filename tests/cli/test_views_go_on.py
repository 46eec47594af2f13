"""A key of another kind, or junk in one, blinds no view: each shows what it is, and the rest is there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis import Redis as Client

from resqpy.base.keys import Keys
from resqpy.cli.output.printing import Exit
from tests.cli.conftest import Call
from tests.support.junk import KINDS

KEYS = Keys()
FIRST = 4_000_000_000
WORKER, ODD_WORKER = "ruby-host:4001:mail", "odd-host:1:mail"
ITEM = b'{"class":"Later","args":[1],"queue":"mail"}'
JUNK = [
    "junk",
    "",
    "null",
    "[1]",
    "{",
    '{"class":5,"args":7,"queue":[],"payload":3,"time":"x"}',
    "9" * 400,
]
BYTES = [b"\xff\xfe", b"\x00\x1b[2J", b'{"class":"\xff","args":["\xff"]}', b"[" * 3000]

LOOKS = {  # the commands that look, and the keys without which they have nothing to show
    "queues": {KEYS.queues},
    "info": {KEYS.queues},
    "jobs list": {KEYS.queues},
    "jobs list mail": set(),
    "failed list": {KEYS.failed},
    "failed groups": {KEYS.failed},
    "workers list": {KEYS.workers, KEYS.heartbeats},
    "delayed list": {KEYS.schedule},
    "schedule list": {KEYS.persistent_schedules, KEYS.last_enqueued_at},
    "schedule fires --limit 9": {KEYS.persistent_schedules},
    "locks list": set(),
    "leader": set(),
    "stats": set(),
    "stats --every": set(),
    "doctor": set(),
    "doctor --jobs": set(),
    "task explain sendMail": set(),
    "healthcheck --scheduler": set(),
}  # fmt: skip
HEALTHY: dict[str, tuple[int, set[str]]] = {}  # what they show where all is well
PLAIN = ("top --rounds 1", "info --prometheus", "info", "queues")

SINGLE = [
    KEYS.queues, KEYS.workers, KEYS.heartbeats, KEYS.pruning, KEYS.pause, KEYS.failed,
    KEYS.failed_queues, KEYS.schedule, KEYS.last_enqueued_at, KEYS.persistent_schedules,
    KEYS.schedules_changed, KEYS.ruby_leader(), KEYS.node_leader, KEYS.stat("processed"),
    KEYS.stat("failed"), "resque:failures", "resque:failed:retry",
]  # fmt: skip
FURTHER = [  # one more of a kind of key, beside a healthy one
    KEYS.queue("odd"), KEYS.queue("odd:recurring"), KEYS.worker(ODD_WORKER),
    KEYS.worker_started(ODD_WORKER), KEYS.ping("odd-host:1"), KEYS.stat("processed", ODD_WORKER),
    KEYS.failed_list("odd_failed"), KEYS.delayed(FIRST + 1), KEYS.delayed("word"),
    KEYS.timestamps(b"junk").decode(), KEYS.queue_lock("Odd", "mail", "[]"),
    KEYS.job_lock("sendMail", "mail", "[1]"), KEYS.retry("Odd", "1"),
]  # fmt: skip


def fill(client: Client) -> None:
    """An installation in which all is well."""
    client.sadd(KEYS.queues, "mail", "odd")
    client.rpush(KEYS.queue("mail"), '{"class":"sendMail","queue":"mail","args":[{"to":"a@b"}]}')
    client.sadd(KEYS.workers, WORKER, ODD_WORKER)
    client.set(KEYS.worker(WORKER), '{"queue":"mail","run_at":"2026-11-29T00:00:00Z",'
               '"payload":{"class":"Runs","args":[]}}')  # fmt: skip
    client.hset(KEYS.heartbeats, WORKER, "2099-11-29T00:00:00+00:00")
    client.rpush(KEYS.failed, '{"payload":{"class":"Bad","args":[1]},"exception":"E","error":"e",'
                 '"backtrace":[],"queue":"mail","worker":"w","failed_at":"2026/11/20 19:27:20 UTC"}')  # fmt: skip
    client.sadd(KEYS.failed_queues, "odd_failed")
    client.rpush(KEYS.delayed(FIRST), ITEM)
    client.zadd(KEYS.schedule, {str(FIRST): FIRST, str(FIRST + 1): FIRST + 1})
    client.sadd(KEYS.timestamps(ITEM), f"delayed:{FIRST}")
    client.hset(
        KEYS.persistent_schedules, "hourly", '{"cron":"0 5 1 1 *","class":"H","queue":"mail"}'
    )
    client.hset(KEYS.last_enqueued_at, "hourly", "2026-11-29 08:00:00 +0000")
    client.set(KEYS.queue_lock("sendMail", "mail", "[1]"), FIRST, ex=1000)
    client.set(KEYS.ruby_leader(), "ruby-host:1", ex=100)
    client.set(KEYS.stat("processed"), 7)


def put(client: Client, key: str, kind: str) -> None:
    """Let a key be of a kind, with all junk in it."""
    client.delete(key)
    words: list[Any] = [*JUNK, *BYTES]
    if kind == "string":
        client.set(key, BYTES[0])
    elif kind == "list":
        client.rpush(key, *words)
    elif kind == "set":
        client.sadd(key, *words)
    elif kind == "zset":
        client.zadd(
            key, dict(zip(words, [1e300, float("inf"), float("-inf"), *range(9)], strict=False))
        )
    elif kind == "hash":
        client.hset(key, mapping=dict(zip(words, reversed(words), strict=True)))
    else:
        client.xadd(key, {"junk": "junk"})


def rows(said: str) -> set[str]:
    """What a command showed as JSON, in comparable parts."""
    found = json.loads(said)
    if isinstance(found, list):
        return {json.dumps(each, sort_keys=True) for each in found}
    return {json.dumps(pair) for pair in found.items()}


def look(resqpy: Call, command: str) -> tuple[int, set[str]]:
    """The exit code and the parts of a look."""
    said = resqpy(*command.split(), "--json")
    assert said.code in (Exit.OK, Exit.NO), (command, said.err)
    assert "Traceback" not in said.err
    return said.code, rows(said.out)


def steady(command: str, parts: set[str]) -> set[str]:
    """The parts of a look that nothing else changes: not sums, nor what is wrong."""
    if command in ("info", "stats", "stats --every", "leader", "task explain sendMail") or (
        command.startswith(("doctor", "healthcheck", "schedule fires"))
    ):
        return set()
    return {part for part in parts if "odd" not in part}


CASES = [(key, kind) for key in SINGLE + FURTHER for kind in KINDS]
SOME = [
    pytest.param(*case, marks=[pytest.mark.full] if n % 5 else [], id=" ".join(case))
    for n, case in enumerate(CASES)
]


@pytest.mark.parametrize(("key", "kind"), SOME)
def test_no_view_is_blinded(key: str, kind: str, resqpy: Call, client: Client) -> None:
    """Each ends as it does with healthy data, and shows what it showed."""
    fill(client)
    if not HEALTHY:
        HEALTHY.update({command: look(resqpy, command) for command in LOOKS})
    put(client, key, kind)

    for command, needs in LOOKS.items():
        code, parts = look(resqpy, command)
        if not command.startswith(("doctor", "healthcheck")):
            assert code == HEALTHY[command][0], command
        if key not in needs:
            assert steady(command, HEALTHY[command][1]) <= parts, command
    for command in PLAIN:
        assert resqpy(*command.split()).code == Exit.OK


def test_keys_of_other_kinds_are_shown_and_left_alone(resqpy: Call, client: Client) -> None:
    """As jesque writes them: nobody is told to delete them, --fix lists no hash as a queue, and metrics
    do not say that Redis is down.
    """
    client.sadd(KEYS.queues, "jdelayed", "jrec", "mail")
    client.zadd(KEYS.queue("jdelayed"), {'{"class":"J","args":["late"]}': 1795941078165})
    client.zadd(KEYS.queue("jrec"), {'{"class":"J","args":["x"]}': 1795941078165})
    client.hset(KEYS.queue("jrec:recurring"), '{"class":"J","args":["x"]}', 5000)
    client.rpush(KEYS.queue("mail"), '{"class":"M","args":[]}')
    client.rpush(KEYS.queue("hidden"), '{"class":"M","args":[]}')

    said = {each: resqpy(*each.split()) for each in ("queues", "info", "jobs list", "doctor")}
    numbers = resqpy("info", "--prometheus").out
    resqpy("doctor", "--fix", "--yes")

    for command in ("queues", "info", "doctor"):
        assert "not a list (zset): not worked here" in said[command].out, command
    assert "jdelayed is not a list (zset)" in said["jobs list"].err
    assert all("delete" not in each.out + each.err for each in said.values())
    assert 'resqpy_odd_keys{key="queue:jdelayed"} 1' in numbers
    assert 'resqpy_queue_jobs{queue="mail"} 1' in numbers
    assert 'queue="jdelayed"' not in numbers
    assert client.smembers(KEYS.queues) == {b"jdelayed", b"jrec", b"mail", b"hidden"}
    assert client.type(KEYS.queue("jrec:recurring")) == b"hash"
    assert [each["queue"] for each in resqpy("queues", "--waiting", "--json").json][:2] == [
        "hidden", "jdelayed",
    ]  # fmt: skip
