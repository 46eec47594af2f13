"""What is told to do can be done: each command that a message of ours names is there, with its options."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
from redis import Redis

from resqpy.cli.main import cli
from resqpy.cli.output.printing import Exit
from resqpy.framework.config.merge import KNOWN
from tests.cli.conftest import Call
from tests.support.source import PACKAGE

_COMMAND = re.compile(r"\bresqpy ((?:[a-z][a-z-]*)(?: [^`;:,.()…→|\n]*)?)")
_WORDS_ONLY = {"worker", "workers", "scheduler", "processes", "process", "leader", "start"}


# Modules, files and functions of others that look like settings.
NO_SETTINGS = {"redis.call", "redis.conf", "redis.error_reply", "redis.log", "redis.sha1hex", "redis.sock",
               "scheduler.rb", "tasks.mail", "tasks.other", "tasks.py"}  # fmt: skip


@cache
def texts() -> list[str]:
    """All texts of the package that may name a command; what stands for a value in them is `X`."""
    return [*_texts()]


def _texts() -> Iterator[str]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                parts = [p.value if isinstance(p, ast.Constant) else "X" for p in node.values]
                yield "".join(map(str, parts))


def told() -> list[str]:
    """Commands that are told with a subcommand or an option, or as a remedy by themselves."""
    found = {match for text in texts() for match in _COMMAND.findall(text)}
    return sorted(each.strip() for each in found if is_told(each))


def is_told(words: str) -> bool:
    """Whether words behind `resqpy` are a command, and not the rest of a sentence."""
    names = words.split()
    command = cli.get_command(click.Context(cli), names[0])
    if command is None or len(names) == 1:
        return False
    if isinstance(command, click.Group):
        return names[1] in command.list_commands(click.Context(command))
    return any(each.startswith("--") for each in names[1:])


@pytest.mark.parametrize("words", told())
def test_a_command_that_is_told_is_there(words: str) -> None:
    """With the options that it is told with."""
    names = shlex.split(words.replace("'", " "))
    ctx, command = click.Context(cli), cli.get_command(click.Context(cli), names.pop(0))
    while isinstance(command, click.Group) and names:
        ctx, command = click.Context(command, parent=ctx), command.get_command(ctx, names.pop(0))
    assert command is not None
    known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    assert {each for each in names if each.startswith("-")} <= known | {
        "-",  # the standard input
        "--help",
        "--json",
        "--redis",
        "--yes",
    }


def test_a_setting_that_is_told_is_there() -> None:
    """By its name in the config: whoever does as he is told sets something."""
    sections = {path.partition(".")[0] for path in KNOWN}
    pattern = re.compile(rf"(?<![\w./-])(?:{'|'.join(sections)})(?:\.[a-z]\w+)+")
    groups = {path.rpartition(".")[0] for path in KNOWN}
    told = {each for text in texts() for each in pattern.findall(text)}
    assert {"tasks.max_payload", "redis.url"} < told
    assert told - set(KNOWN) - groups <= NO_SETTINGS


def test_many_commands_are_told() -> None:
    """The search finds some, or it finds nothing any more."""
    assert {"schedule resume X", "failed list --class X"} <= set(told())


@pytest.mark.parametrize("why", ["stopped", "failed"])
def test_a_chain_that_does_not_go_on_is_started_by_its_remedy(
    why: str, resqpy: Call, client: Redis, root: object
) -> None:
    """The very command that `explain` tells, and then it does not tell it any more."""
    (root / "tasks" / "ticks.py").write_text(  # type: ignore[operator]
        'from resqpy import task\n\n\n@task(frequency=60_000)\ndef ticks() -> None:\n    """Tick."""\n'
    )
    assert resqpy("console", "-c", "await api.tasks.enqueue_all_recurrent_jobs()").code == Exit.OK
    resqpy("console", "-c", "await api.tasks.stop_recurrent_job('ticks')")
    client.hset("resque:resqpy:periodic:stopped", "ticks", why)

    found = resqpy("task", "explain", "ticks", "--json").json
    [remedy] = [each["remedy"] for each in found if each["kind"] == "periodic"]
    command = shlex.split(_COMMAND.findall(remedy)[0])
    started, again = resqpy(*command, "--json"), resqpy(*command, "--json")

    assert (started.json["done"], again.json["done"]) == (True, False)
    after = resqpy("task", "explain", "ticks", "--json").json
    assert not any(each["remedy"] == remedy for each in after)
    assert client.hget("resque:resqpy:periodic:stopped", "ticks") is None


LOCK = "lock:sendMail:default:[]"
DEAD = "box:4711:mail"  # a worker of PHP's
VALUES = {  # what a reader puts in place of the words behind a command
    "failed list --class": "sendMail",
    "failed retry --class": "sendMail",
    "failed show": "1",
    "generate command": "lookAround",
    "generate task": "sendCard",
    "jobs list": "mail",
    "limits remove": "mail",
    "limits set": "mail 3",
    "locks remove": LOCK,
    "queues resume": "mail",
    "schedule resume": "ticks",
    "workers clean": DEAD,
}
# These end by a signal, or with their task, and are tried by other tests; the last is a sentence.
ELSEWHERE = (
    "worker ",
    "task watch",
    "limits open",  # the tour does it
    "failed groups shows what failed and why",
    "schedule add ",  # these four: tests/cli/test_schedule_changes.py
    "schedule import -",
    "schedule pause",
    "schedule remove",
    "web users add",  # asks for a password: tests/web/test_serving.py
)


@pytest.mark.parametrize("words", [each for each in told() if not each.startswith(ELSEWHERE)])
def test_a_command_that_is_told_works(
    words: str, resqpy: Call, client: Redis, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the state in which it is told: it does something, and does not refuse how it is called."""
    monkeypatch.chdir(root)
    (root / "tasks" / "ticks.py").write_text(
        'from resqpy import task\n\n\n@task(frequency=60_000)\ndef ticks() -> None:\n    """Tick."""\n'
    )
    (root / "tasks" / "hello.py").write_text(  # what `init` makes
        "from resqpy import task\n\n\n@task\nasync def hello(name: str) -> None: ...\n"
    )
    job = {"class": "sendMail", "queue": "mail", "args": [{"to": "ada@example"}]}
    client.sadd("resque:queues", "mail")
    client.rpush("resque:queue:mail", json.dumps(job))
    client.rpush(
        "resque:failed",
        json.dumps({"payload": job, "queue": "mail", "exception": "E", "error": "e"}),
    )
    client.set(f"resque:{LOCK}", 4_000_000_000)
    client.hset("resque:resqpy:limits", mapping={"mail": 3, "{migrate}X": "unreadable"})
    if words.startswith(("migrate X --canary", "migrate X --shadow")):  # told of one that moves
        client.hset("resque:resqpy:limits", "{migrate}X", "0 100 500 0 ruby mail")
    client.sadd("resque:workers", DEAD)
    client.hset("resque:resqpy:periodic:stopped", "ticks", "failed")
    if "--undo" in words:
        assert resqpy("doctor", "--fix", "--yes").code in {Exit.OK, Exit.NO}

    assert resqpy(*_as_read(words, resqpy, root)).code in {Exit.OK, Exit.NO}


def _as_read(words: str, resqpy: Call, root: Path) -> list[str]:
    """A command as a reader types it."""
    names = shlex.split(words, comments=True)
    for told_as, value in VALUES.items():
        if words.startswith(told_as):
            [entry] = resqpy("failed", "list", "--json").json
            names = [*told_as.split(), *([entry["id"]] if value == "1" else value.split())]
    if words.startswith("doctor --undo"):
        undo = [str(path) for path in root.rglob("*undo*")]
        names = ["doctor", "--undo", *undo[:1]] if undo else ["doctor"]
    asks = {"retry", "remove", "clean", "--undo", "--fix"} & set(names)
    return [*names, *(["--yes"] if asks and names[0] != "limits" else [])]


def test_many_locks_are_told_in_few_lines(resqpy: Call, client: Redis) -> None:
    """Of one task; those of others are not read."""
    with client.pipeline() as pipe:
        for n in range(2000):
            pipe.set(f"resque:lock:sendMail:default:[{n}]", 4_000_000_000, ex=1000)
            pipe.set(f"resque:lock:sendMailing:default:[{n}]", 4_000_000_000, ex=1000)
        pipe.execute()

    said = resqpy("task", "explain", "sendMail")

    assert len(said.out.splitlines()) < 40
    assert "1,990 more locks" in said.out
    assert "sendMailing" not in said.out


def test_remedies_can_be_pasted_into_a_shell(resqpy: Call, client: Redis) -> None:
    """Whatever the names of tasks, queues and locks have in them: inputs stand in those of locks."""
    name, queue = "Mail's x", "it's"
    lock = f'lock:{name}:{queue}:[{{"to":"o\'brien@x"}}]'
    client.set(f"resque:{lock}", 4_000_000_000)
    job = {"class": name, "queue": queue, "args": []}
    client.sadd("resque:queues", queue)
    client.rpush(f"resque:queue:{queue}", json.dumps(job))
    client.rpush("resque:failed", json.dumps({"payload": job, "exception": "E", "error": "e"}))

    found = resqpy("task", "explain", name, "--queue", queue, "--json").json
    found += resqpy("doctor", "--json").json
    assert "the same" not in resqpy("doctor").err
    assert "the same --namespace)" in resqpy("doctor", "--namespace", "resque").err
    told = [
        shlex.split(each["remedy"].partition("resqpy ")[2])
        for each in found
        if each.get("kind") in {"no worker", "locked", "failed"}
        or each.get("name") == "unworked queue"
    ]

    works = ["worker", "--queues", f"{queue},*"]
    listed = ["failed", "list", "--class", name]
    assert sorted(told) == sorted([works, works, ["locks", "remove", lock], listed])
    assert resqpy("locks", "remove", lock, "--yes").code == Exit.OK
    assert not client.exists(f"resque:{lock}")
    assert len(resqpy(*listed, "--json").json) == 1
