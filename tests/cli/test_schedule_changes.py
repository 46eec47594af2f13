"""`resqpy schedule add`, `change` and `remove`: what is written, how it is undone, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from redis import Redis

from resqpy.cli.output.printing import Exit
from tests.cli.conftest import Call


def entry(client: Any, name: str = "nightly") -> Any:
    """A schedule as Ruby reads it."""
    raw = client.hget("resque:persistent_schedules", name)
    return None if raw is None else json.loads(raw)


def undo(environ: dict[str, str], words: str) -> None:
    """Do what a command says takes it back, in a shell."""
    command = words.partition("to undo this: ")[2].splitlines()[0]
    program = f"{sys.executable} -m resqpy.cli"
    subprocess.run(
        ["sh", "-c", command.replace("resqpy ", f"{program} ")], env=environ, check=True, timeout=60
    )


def test_each_change_can_be_undone(resqpy: Call, client: Redis, environ: dict[str, str]) -> None:
    """By the command that it tells, also of an odd text."""
    add = (
        "schedule",
        "add",
        "nightly",
        "sendMail",
        "to=a@b",
        "subject=it's a \\n 'x'",
        "--cron",
        "0 9 * * *",
    )
    tried = resqpy(*add, "--dry-run", "--json").json
    assert (tried["done"], tried["before"], entry(client)) == ("added", None, None)
    added = resqpy(*add)
    first = entry(client)
    changed = resqpy(
        "schedule", "change", "nightly", "--every", "90m", "--queue", "default", "--json"
    )
    second = entry(client)
    undo(environ, changed.err)
    third = entry(client)
    removed = resqpy("schedule", "remove", "nightly")
    gone = entry(client)
    undo(environ, removed.err)
    fourth = entry(client)
    undo(environ, added.err)

    assert first == {
        "cron": "0 9 * * * UTC", "class": "sendMail", "queue": "default",
        "args": [{"to": "a@b", "subject": "it's a \\n 'x'"}],
    }  # fmt: skip
    assert "cron" not in second
    assert second["every"] == "5400s"
    assert (changed.json["before"], changed.json["after"]) == (first, second)
    assert (third, gone, fourth, entry(client)) == (first, None, first, None)
    assert {each.code for each in (added, changed, removed)} == {Exit.OK}
    assert "nobody fires schedules now" in added.err


@pytest.mark.parametrize("name", ["a,b: c*?[d]", "-x", "--json", "a\nb\x1b[31m", "it's ü\u202e%"])
def test_of_any_name(name: str, resqpy: Call, client: Redis, environ: dict[str, str]) -> None:
    """The command that takes a change back names it so that a shell and resqpy understand it."""
    given = ("--every", "1h", "--foreign", "--queue", "q", "--", name, "Report")
    undo(environ, resqpy("schedule", "add", *given).err)
    gone = entry(client, name)
    resqpy("schedule", "add", *given)
    resqpy("schedule", "pause", "--", name)
    removed = resqpy("schedule", "remove", "--", name)
    paused = client.smembers("resque:resqpy:ruby:paused")
    undo(environ, removed.err)

    assert (gone, paused) == (None, set())
    assert entry(client, name) == {"every": "3600s", "class": "Report", "queue": "q", "args": []}
    assert client.smembers("resque:resqpy:ruby:paused") == {name.encode()}


@pytest.mark.parametrize(
    "text",
    [
        b"not json",
        b"[1]",
        b'{"class":"F\xff","queue":"q","every":"1h"}',
        b'{"class":"A","queue":"q","every":"1h","args":[%b]}' % (b"9" * 5000),
        b'{"class":"A","queue":"q","every":["1h",{"first_at":"2030-01-01 00:00"}]}',
        b'{"class":"A","queue":"q","every":60}',
    ],
)
def test_what_resqpy_does_not_write(text: bytes, resqpy: Call, client: Redis) -> None:
    """Is not damaged by a change of something else; and no way back is told that fails."""
    client.hset("resque:persistent_schedules", "nightly", text)
    changed = resqpy("schedule", "change", "nightly", "--description", "x")
    kept = client.hget("resque:persistent_schedules", "nightly")
    removed = resqpy("schedule", "remove", "nightly")

    assert (changed.code, kept, removed.code) == (Exit.USAGE, text, Exit.OK)
    assert text.decode("utf-8", "backslashreplace") in removed.err
    assert "to undo this" not in removed.err


def test_many_odd_names(resqpy: Call, client: Redis) -> None:
    """A message about another one shows some, each in one line."""
    names: dict[Any, Any] = {
        f"n{n:05}": b'{"class":"A","queue":"q","every":"1h"}' for n in range(500)
    }
    client.hset("resque:persistent_schedules", mapping={"a\nfake: all is well": b"{}", **names})
    for verb in ("remove", "pause", "history"):
        said = resqpy("schedule", verb, "other")
        assert (said.code, len(said.err) < 500, "\nfake" in said.err) == (
            Exit.NOT_FOUND,
            True,
            False,
        )
        assert "and 481 more" in said.err or "and 482 more" in said.err


def test_far_times(resqpy: Call) -> None:
    """Have no fires."""
    for time in ("0002-01-01", "9999-12-31T23:00"):
        assert resqpy("schedule", "fires", f"--from={time}").code == Exit.USAGE
    assert resqpy("schedule", "fires", "--from=9986-12-31T23:59").code == Exit.OK


def test_what_is_as_it_was(resqpy: Call, client: Redis) -> None:
    """Has nothing to be undone."""
    resqpy("schedule", "add", "nightly", "sendMail", "to=a@b", "--every", "1h")
    said = resqpy("schedule", "change", "nightly", "to=a@b")

    assert said.out.startswith("nightly: as it was")
    assert "undo" not in said.err


def test_of_another_language(resqpy: Call, client: Redis) -> None:
    """Its arguments are any list."""
    done = resqpy(
        "schedule",
        "add",
        "nightly",
        "Report",
        "--every",
        "1h",
        "--foreign",
        "--queue",
        "ruby",
        "--args",
        "[1,2.50]",
    )

    assert done.code == Exit.OK
    assert entry(client) == {"every": "3600s", "class": "Report", "queue": "ruby", "args": [1, 2.5]}


def test_what_is_refused(resqpy: Call, client: Redis) -> None:
    """With the nearest name, and the exit codes of other commands."""
    resqpy("schedule", "add", "nightly", "sendMail", "to=a@b", "--every", "1h")
    before = entry(client)
    for words, code, said in (
        ("add other sendMial to=a@b --every 1h", Exit.NOT_FOUND, "did you mean 'sendMail'"),
        ("add other sendMail too=a@b --every 1h", Exit.USAGE, "did you mean 'to'"),
        ("add other sendMail to=ab --every 1h", Exit.USAGE, "'to'"),
        ("add other sendMail to=a@b --every 1h --queue slwo", Exit.OK, ""),
        (
            "add another sendMail to=a@b --every 1h --queue defaultt",
            Exit.USAGE,
            "did you mean 'default'",
        ),
        ("add nightly sendMail to=a@b --every 1h", Exit.USAGE, "already"),
        ("add other2 sendMail to=a@b", Exit.USAGE, "cron or every"),
        ("change nigthly --every 1h", Exit.NOT_FOUND, "did you mean 'nightly'"),
        ("remove nigthly", Exit.NOT_FOUND, "did you mean 'nightly'"),
        ("remove sendMail", Exit.NOT_FOUND, "no schedule 'sendMail'"),
        ("add zone sendMail to=a@b --cron @daily --timezone=", Exit.USAGE, "time zone ''"),
        ("add other3 sendMail to=a@b to=c@d --every 1h", Exit.USAGE, "twice"),
        ("add other4 X a=1 --args [1] --foreign --queue q --every 1h", Exit.USAGE, "a list"),
    ):
        done = resqpy("schedule", *words.split())
        assert (done.code, said in done.err) == (code, True), (words, done.err)
    assert entry(client) == before
    assert {*client.hkeys("resque:persistent_schedules")} == {b"nightly", b"other"}
