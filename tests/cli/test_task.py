"""`resqpy task`: the project's tasks."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from textwrap import dedent
from typing import cast

import pytest
from redis import Redis

from resqpy.base import codec
from resqpy.cli.output.printing import Exit
from tests.cli.conftest import Call


def test_list_and_show(resqpy: Call) -> None:
    """All tasks; one with all its properties."""
    listed = resqpy("task", "list", "--json").json
    slow = resqpy("task", "list", "--queue", "slow", "--json").json
    shown = resqpy("task", "show", "sendMail", "--json").json

    assert [each["name"] for each in listed] == ["fails", "sendMail"]
    assert [each["name"] for each in slow] == ["fails"]
    assert resqpy("task", "list", "--queue", "none").out == "no such tasks\n"
    assert shown["inputs"]["to"] == {"type": "str", "required": True}
    assert shown["inputs"]["subject"]["default"] == "hello"
    assert shown["file"].endswith("tasks/mail.py")
    assert "sendMail" in resqpy("task", "show", "sendMail").out


def test_properties_are_shown_for_people(resqpy: Call, root: Path) -> None:
    """Times with units, yes for true; of a tracked task also no for false, and when."""
    (root / "tasks" / "often.py").write_text(
        "from resqpy import task\n\n\n"
        "@task(frequency=90_000, time_limit=5000)\nasync def often():\n    'Run often.'\n"
    )
    resqpy(
        "tracked",
        "create",
        "sendMail",
        "to=a@b",
        "--id",
        "one",
        "--delay",
        "1h",
        "--interval",
        "2m",
    )

    shown = _properties(resqpy("task", "show", "often").out)
    tracked = _properties(resqpy("tracked", "get", "one").out)

    assert shown.items() >= {"frequency": "1 m 30 s", "time limit": "5 s", "async": "yes"}.items()
    assert tracked.items() >= {"interval": "2 m", "linked": "no", "enabled": "yes"}.items()
    assert re.search(r"UTC, in (1 h|59 m \d+ s)$", tracked["next run time"])
    assert tracked["longest execution"] == "30 m"


def _properties(out: str) -> dict[str, str]:
    pairs = (line.partition("  ") for line in out.splitlines())
    return {name: value.strip() for name, _, value in pairs}


@pytest.mark.parametrize(
    "arguments",
    [
        ["sendMail", "to=ada@example.com"],
        ["sendMail", "--args", '{"to": "ada@example.com"}'],
        ["-n", "sendMail", "-a", '{"to": "ada@example.com"}'],
        ["--name", "sendMail", "to=ada@example.com"],
    ],
)
def test_enqueue(resqpy: Call, client: Redis, arguments: list[str]) -> None:
    """With inputs as words, as JSON, and in ActionHero's way."""
    said = resqpy("task", "enqueue", *arguments)

    assert (said.code, said.out) == (0, "sendMail enqueued\n")
    assert client.lrange("resque:queue:default", 0, -1) == [
        b'{"class":"sendMail","queue":"default","args":[{"to":"ada@example.com"}]}'
    ]


def test_enqueue_later(resqpy: Call, client: Redis) -> None:
    """After a time, at a time, to another queue, several times, or not at all."""
    resqpy("task", "enqueue", "sendMail", "to=a@x", "--in", "10m")
    resqpy("task", "enqueue", "sendMail", "to=a@x", "--at", "2030-01-01T00:00Z")
    said = resqpy("task", "enqueue", "sendMail", "to=a@x", "--queue", "high", "--count", "3")
    assert "warning" not in said.err
    said = resqpy("task", "enqueue", "sendMail", "to=a@x", "--queue", "defualt")
    assert "no task uses the queue 'defualt'; did you mean 'default'?" in said.err
    resqpy("task", "enqueue", "sendMail", "to=a@x", "--dry-run")

    assert client.zcard("resque:delayed_queue_schedule") == 2
    assert client.llen("resque:delayed:1893456000") == 1
    assert client.llen("resque:queue:high") == 3
    assert client.llen("resque:queue:default") == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["sendMial"], Exit.NOT_FOUND, "did you mean 'sendMail'?"),
        (["sendMail"], Exit.USAGE, "'to'"),
        (["sendMail", "to=nobody"], Exit.USAGE, "'to' is not valid"),
        (["sendMail", "--args", "{to: 1}"], Exit.USAGE, "--args"),
        (["sendMail", "--args", "[1]"], Exit.USAGE, "takes one object"),
        (["sendMail", "to"], Exit.USAGE, "'to' is not KEY=VALUE"),
        (["sendMail", "=a@x"], Exit.USAGE, "'=a@x' is not KEY=VALUE"),
        (["sendMail", "to=a@x", "to=b@x"], Exit.USAGE, "'to' is given twice"),
        (["sendMail", "to=a@x", "--args", '{"to": "b@x"}'], Exit.USAGE, "'to' is given twice"),
        (["sendMail", "to=a@x", "--count", "0"], Exit.USAGE, "--count"),
        (["sendMail", "to=a@x", "--count", "2", "--in", "1h"], Exit.USAGE, "--count"),
        (["to=a@x"], Exit.USAGE, "the task is missing"),
        (["sendMail", "to=a@x", "--in", "soon"], Exit.USAGE, "is not a duration"),
        (["sendMail", "to=a@x", "--at", "noon"], Exit.USAGE, "--at"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_enqueued(
    resqpy: Call, client: Redis, arguments: list[str], code: Exit, words: str
) -> None:
    """An unknown task, wrong inputs, wrong times."""
    said = resqpy("task", "enqueue", *arguments)

    assert (said.code, words in said.err) == (code, True), said.err
    assert client.exists("resque:queues") == 0


def test_a_word_is_read_as_its_input_is_declared(resqpy: Call, client: Redis) -> None:
    """What looks like a number is a text where one is declared; JSON may come by standard input."""
    resqpy("task", "enqueue", "sendMail", "to=a@x", "subject=0815")
    resqpy("task", "enqueue", "sendMail", "to=a@x", "subject=5")
    resqpy("task", "enqueue", "sendMail", "to=a@x", "subject=null")
    resqpy("task", "enqueue", "fails", "reason=[1]", "--queue", "default")

    queued = [json.loads(each)["args"][0] for each in client.lrange("resque:queue:default", 0, -1)]
    assert [each.get("subject", each.get("reason")) for each in queued] == [
        "0815",
        "5",
        "null",
        "[1]",
    ]


def test_what_a_plugin_forbade_is_told(resqpy: Call, root: Path) -> None:
    """How many of several were enqueued, or that none was."""
    (root / "tasks" / "once.py").write_text(
        "from resqpy import task\n@task(plugins=['QueueLock'])\ndef once(): 'Once.'\n"
    )
    some = resqpy("task", "enqueue", "once", "--count", "3")
    none = resqpy("task", "enqueue", "once")

    assert "once enqueued, 1 of 3 times: a plugin or middleware forbade the others" in some.out
    assert (none.code, "not enqueued" in none.out) == (Exit.NO, True)


def test_inputs_come_by_standard_input(
    resqpy: Call, client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--args -`."""
    monkeypatch.setattr("sys.stdin", io.StringIO('{"to": "ada@example.com"}'))

    assert resqpy("task", "enqueue", "sendMail", "--args", "-").code == 0
    assert client.llen("resque:queue:default") == 1


def test_run(resqpy: Call, client: Redis, root: Path) -> None:
    """Here and now, with its inputs checked; what it raises is shown without our own frames."""
    (root / "tasks" / "leaves.py").write_text(
        "import sys\nfrom resqpy import task\n@task\ndef leaves(): 'Leave.'; sys.exit(0)\n"
    )
    good = resqpy("task", "run", "sendMail", "to=ada@example.com")
    bad = resqpy("task", "run", "fails", "reason=rain")
    told = resqpy("task", "run", "sendMail", "to=ada@example.com", "--json")

    assert good.out == "mail to ada@example.com\nsent to ada@example.com\n"
    assert bad.code == Exit.ERROR
    assert resqpy("task", "run", "leaves").code == Exit.ERROR
    assert "ValueError: rain" in bad.err
    assert "resqpy/" not in bad.err
    assert told.json_of_last_line == {"task": "sendMail", "result": "sent to ada@example.com"}
    assert client.exists("resque:queues") == 0


def test_run_with_its_plugins(resqpy: Call, client: Redis, root: Path) -> None:
    """They stand around the run as in a worker: in their order, with a lock that is held meanwhile."""
    (root / "tasks" / "locked.py").write_text(
        dedent(
            """
            from resqpy import Plugin, task


            class Says(Plugin):
                async def before_perform(self, run):
                    print("before", run.class_name, run.args)

                async def after_perform(self, run):
                    print("after", run.result)


            class Hides(Plugin):
                async def after_perform(self, run):
                    if run.error is not None:
                        print("hides", run.error)
                        run.error = None


            @task(plugins=[Says, Hides, "JobLock"])
            async def locked(worker, number: int):
                "Say which locks are held."
                print(*await worker.queue.store.call("KEYS", "resque:workerslock:*"))
                if number > 1:
                    raise ValueError("two")
                return number
            """
        )
    )
    good = resqpy("task", "run", "locked", "number=1")
    forgiven = resqpy("task", "run", "locked", "number=2")

    assert [line.partition(" ")[0] for line in good.out.splitlines()] == [
        "before", good.out.splitlines()[1].partition(" ")[0], "after", "1",
    ]  # fmt: skip
    assert "resque:workerslock:locked:" in good.out
    assert "hides two" in forgiven.out
    assert forgiven.code == 0
    assert client.keys("resque:workerslock:*") == []


def test_a_task_that_may_not_run(resqpy: Call, root: Path) -> None:
    """A script must see that nothing was done."""
    (root / "middleware").mkdir()
    (root / "middleware/no.py").write_text(
        "from resqpy import Middleware\n\n\n"
        "class No(Middleware):\n    def pre_processor(self, call): return False\n"
    )
    (root / "tasks/forbidden.py").write_text(
        "from resqpy import task\n\n\n@task(middleware=['no'])\ndef forbidden(): 'F.'\n"
    )

    said = resqpy("task", "run", "forbidden")

    assert (said.code, said.err) == (
        Exit.NO, "forbidden did not run: a plugin or middleware of the task forbids it\n"
    )  # fmt: skip


def test_a_task_that_is_run_has_the_projects_queue(resqpy: Call, root: Path) -> None:
    """Where the project replaces the queue, the task's worker has that one."""
    (root / "tasks" / "asks.py").write_text(
        "from resqpy import task\n@task\ndef asks(worker): 'Ask.'; return type(worker.queue).__name__\n"
    )
    (root / "config").mkdir()
    (root / "config" / "tasks.py").write_text(
        "from resqpy import Queue\nclass Own(Queue): ...\n"
        "def default(): return {'resque_overrides': {'queue': Own}}\n"
    )

    assert resqpy("task", "run", "asks").out == "Own\n"


def test_explain_names_what_is_in_the_way(resqpy: Call, client: Redis, root: Path) -> None:
    """No worker, paused workers, no scheduler, locks, failures: each with a remedy."""
    (root / "tasks" / "tick.py").write_text(
        dedent('''
            from resqpy import task

            @task(frequency=60_000)
            async def tick() -> None:
                """Tick."""
        ''')
    )
    resqpy("task", "enqueue", "sendMail", "to=a@x")
    client.set("resque:pause-all-workers", "true")
    client.set("resque:lock:sendMail:default:[]", int(time.time()) + 60)
    client.rpush(
        "resque:failed",
        b'{"failed_at":"2026/11/21 00:27:20 UTC","payload":{"class":"sendMail","args":[]},'
        b'"exception":"ValueError","error":"rain","backtrace":[],"worker":"w","queue":"default"}',
    )

    mail = resqpy("task", "explain", "sendMail", "--json")
    tick = resqpy("task", "explain", "tick")
    unknown = resqpy("task", "explain", "sendMial")

    kinds = {each["kind"]: each["blocks"] for each in mail.json}
    assert kinds == {
        "paused": True, "no worker": True, "locked": True, "waiting": False, "failed": False,
    }  # fmt: skip
    assert mail.code == tick.code == unknown.code == Exit.NO
    assert "no scheduler leads" in tick.out
    assert "it is periodic (every 60 s), but no running process has announced it" in tick.out
    assert "→ resqpy scheduler" in tick.out
    assert "did you mean 'sendMail'?" in unknown.out


def node_worker(client: Redis, *, busy: bool = False) -> None:
    """One of node-resque's that takes jobs from `default`, and lives."""
    name = "node:1:default"
    client.sadd("resque:workers", name)
    ping = {"time": int(time.time()), "name": "node:1", "queues": "default"}
    client.set("resque:worker:ping:node:1", json.dumps(ping))
    if busy:
        work = {
            "run_at": "x",
            "queue": "default",
            "worker": name,
            "payload": {"class": "other", "args": []},
        }
        client.set(f"resque:worker:{name}", json.dumps(work))


def python_worker(client: Redis, *, busy: bool) -> None:
    """One of ours."""
    name = "host+1-abcdefgh:1:default"
    client.sadd("resque:workers", name)
    client.hset("resque:workers:heartbeat", name, datetime.now(UTC).isoformat())
    if busy:
        work = {
            "run_at": "x",
            "queue": "default",
            "worker": name,
            "payload": {"class": "other", "args": []},
        }
        client.set(f"resque:worker:{name}", json.dumps(work))


def delayed(client: Redis, second: int) -> None:
    """A delayed job of sendMail."""
    client.zadd("resque:delayed_queue_schedule", {str(second): second})
    job = {"class": "sendMail", "queue": "default", "args": [{"to": "a@x"}]}
    client.rpush(f"resque:delayed:{second}", json.dumps(job))


def snoozed(client: Redis, second: int) -> None:
    """The same, which was snoozed twice."""
    delayed(client, second)
    [item] = client.lrange(f"resque:delayed:{second}", 0, -1)
    client.hset("resque:resqpy:rescues", codec.digest(cast(bytes, item)), f"0/{second}/2")


@pytest.mark.parametrize(
    ("make", "kind", "blocks", "words"),
    [
        (node_worker, "foreign workers", True, "only Node workers take jobs from the queue 'default'"),
        (partial(python_worker, busy=False), "workers", False, ": 1 idle"),
        (partial(python_worker, busy=True), "busy", True, ": 1 busy"),
        (
            lambda client: delayed(client, int(time.time()) + 600), "delayed", False,
            "1 job of it is delayed, until",
        ),
        (
            lambda client: snoozed(client, int(time.time()) + 600), "delayed", False,
            "1 job of it is delayed (snoozed 2 times by the task itself), until",
        ),
        (
            lambda client: delayed(client, int(time.time()) - 600), "overdue", True,
            "1 job of it is delayed, and was due",
        ),
        (
            lambda client: client.set("resque:lock:sendMail:default:[]", int(time.time()) - 200_000),
            "old lock", False, "a lock that expired 2 d 7 h ago",
        ),
        (
            lambda client: client.set("resque:workerslock:sendMail:default:[]", 4_000_000_000),
            "locked", True, "prevents equal jobs from running, and expires in",
        ),
    ],
)  # fmt: skip
def test_explain_tells_what_it_is(
    resqpy: Call,
    client: Redis,
    make: Callable[[Redis], object],
    kind: str,
    blocks: bool,
    words: str,
) -> None:
    """A worker of another language, none with time, a job that is due later, one that nobody moved."""
    make(client)
    found = {each["kind"]: each for each in resqpy("task", "explain", "sendMail", "--json").json}

    assert found[kind]["blocks"] is blocks
    assert words in found[kind]["words"]


def test_typed_inputs(resqpy: Call, root: Path, client: Redis) -> None:
    """Words are read as what the task declares, and shown, enqueued and run alike."""
    (root / "tasks" / "typed.py").write_text(
        "from dataclasses import dataclass\nfrom datetime import date, datetime\nfrom decimal import Decimal\n"
        "from resqpy import task\n\n\n@dataclass\nclass Item:\n    password: str\n\n\n"
        "@task()\ndef pay(price: Decimal, day: date = date(2026, 1, 2), items: list[Item] = ()):\n"
        "    'Pay.'\n    return {'price': price, 'day': day}\n"
    )
    resqpy("task", "enqueue", "pay", "price=12.30", "day=2026-11-29", 'items=[{"password": "x"}]')
    ran = resqpy("task", "run", "pay", "price=12.30", "--json").json
    wrong = resqpy("task", "enqueue", "pay", "price=1", "day=tomorrow")
    schema = json.loads(resqpy("task", "show", "pay", "--json-schema").out)
    shown = resqpy("task", "show", "pay", "--json").json

    [raw] = client.lrange("resque:queue:default", 0, -1)
    assert json.loads(raw)["args"] == [
        {"price": "12.30", "day": "2026-11-29", "items": [{"password": "x"}]}
    ]
    assert ran["result"] == {"price": "12.30", "day": "2026-01-02"}
    assert wrong.code == Exit.USAGE
    assert "input 'day' must be a date such as '2026-11-29', got 'tomorrow' (str)" in wrong.err
    assert schema["properties"]["items"]["items"] == {"$ref": "#/$defs/Item"}
    assert schema["$defs"]["Item"]["properties"] == {"password": {"type": "string"}}
    assert schema["properties"]["day"] == {
        "type": "string", "format": "date", "default": "2026-01-02",
    }  # fmt: skip
    assert shown["inputs"]["day"] == {"type": "date", "required": False, "default": "2026-01-02"}
    assert shown["inputs"]["items"]["type"] == "list[tasks.typed.Item]"
