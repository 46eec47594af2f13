"""The log of a process as a program reads it: JSON on each line, each thing once."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from redis import Redis

from tests.cli.conftest import Program
from tests.cli.processes import ended

NOWHERE = "redis://127.0.0.1:1/0"
# What an application may have done before, in a file that is loaded with it.
BASIC = """
    import logging
    import sys

    from resqpy import api, task

    logging.basicConfig(level="INFO", format="BASIC %(message)s", stream={stream})

    @task()
    def says():
        '''Say it in each way.'''
        logging.getLogger("theirs").warning("said by logging")
        api.log.info("said by api")
"""


def lines(output: str) -> list[dict[str, Any]]:
    """All lines; one that is no JSON is an error."""
    return [json.loads(line) for line in output.splitlines()]


@pytest.mark.parametrize("command", ["worker", "scheduler"])
def test_why_it_could_not_start_is_a_line_of_the_log(program: Program, command: str) -> None:
    """The last one, and no other is plain."""
    process = program(command, REDIS_URL=NOWHERE, RESQPY_REDIS_STARTUP_TIMEOUT="1")
    code, output = ended(process, 60)
    told = lines(output)
    assert code != 0
    assert [each["event"] for each in told].count("could not start") == 1
    assert told[-1]["level"] == "critical"
    assert NOWHERE in told[-1]["error"]


def test_for_people_it_is_one_plain_line(program: Program, root: Path) -> None:
    """On a console, and where the log is a file: it is on the screen then, as ever."""
    for more in (("--logfile", str(root.parent / "log")), ()):
        where = {} if more else {"RESQPY_LOGGER_FORMAT": "console"}
        process = program(
            "worker", *more, REDIS_URL=NOWHERE, RESQPY_REDIS_STARTUP_TIMEOUT="1", **where
        )
        code, output = ended(process, 60)
        assert code != 0
        assert sum(line.startswith("resqpy:") for line in output.splitlines()) == 1
        assert "could not start" not in output


@pytest.mark.parametrize("stream", ["None", "sys.stdout"])
def test_no_line_comes_twice_beside_basic_config(
    program: Program, root: Path, client: Redis, stream: str
) -> None:
    """In a worker process, whose task files have set logging up; all that it says is JSON."""
    (root / "tasks" / "says.py").write_text(dedent(BASIC).format(stream=stream))
    client.rpush("resque:queue:default", '{"class":"says","queue":"default","args":[{}]}')
    client.sadd("resque:queues", "default")
    code, output = ended(program("worker", "--queues", "default", "--burst"), 60)
    assert code == 0
    events = [each["event"] for each in lines(output)]
    for said in ("said by logging", "said by api", "job succeeded", "process started"):
        assert events.count(said) == 1


# A loop of another module, as uvloop's is; and one that is not installed.
UVLOOP = """
    import asyncio

    class Loop(asyncio.SelectorEventLoop):
        "Another one."

    new_event_loop = Loop
"""
NO_UVLOOP = "raise ModuleNotFoundError('No module named uvloop', name='uvloop')"


@pytest.mark.parametrize(
    ("module", "wanted", "loop"),
    [
        (UVLOOP, "auto", "uvloop"),
        (UVLOOP, "uvloop", "uvloop"),
        (UVLOOP, "asyncio", "asyncio"),
        (NO_UVLOOP, "auto", "asyncio"),
        (NO_UVLOOP, "uvloop", None),
    ],
)
def test_the_event_loop(
    program: Program, root: Path, client: Redis, module: str, wanted: str, loop: str | None
) -> None:
    """That of uvloop where it is installed, unless the config says otherwise; the log says which."""
    (root / "tasks" / "says.py").write_text(dedent(BASIC).format(stream="None"))
    library = root.parent / "library"
    library.mkdir()
    (library / "uvloop.py").write_text(dedent(module))
    settings = {"PYTHONPATH": str(library), "RESQPY_PROCESS_LOOP": wanted}
    client.rpush("resque:queue:default", '{"class":"says","queue":"default","args":[{}]}')
    client.sadd("resque:queues", "default")
    code, output = ended(program("worker", "--queues", "default", "--burst", **settings), 60)
    if loop is None:
        assert code != 0
        assert "resqpy[uvloop]" in lines(output)[-1]["error"]
        return
    assert code == 0
    [started] = [each for each in lines(output) if each["event"] == "process started"]
    assert started["loop"] == loop
    assert "job succeeded" in [each["event"] for each in lines(output)]
