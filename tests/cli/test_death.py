"""A worker or scheduler that dies of an error: the exit code, and the last line of the log."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pytest

from tests.cli.conftest import Program
from tests.cli.processes import ended

DIES = """
    import asyncio
    from resqpy import Initializer, api

    class Dies(Initializer):
        start_priority = 10_000

        async def start(self):
            asyncio.get_running_loop().call_later(0.2, self.die)

        def die(self):
            try:
                self.fail()
            except BaseException as error:
                (api.resque.multi_worker or api.resque.scheduler).die(error)

        def fail(self):
            raise {error}
"""


@pytest.mark.parametrize("command", ["worker", "scheduler"])
@pytest.mark.parametrize(
    "error", ["ValueError('boom')", "SystemExit(0)", "ExceptionGroup('two', [OSError('boom')])"]
)
def test_the_last_line_names_the_error(
    program: Program, root: Path, command: str, error: str
) -> None:
    """With its traceback; the exit code is not 0, also where the error is an exit."""
    (root / "initializers").mkdir()
    (root / "initializers" / "dies.py").write_text(dedent(DIES).format(error=error))
    log = root.parent / "log"

    code, output = ended(program(command, "--logfile", str(log)), 60)

    last = json.loads(log.read_text().splitlines()[-1])
    assert code == 1
    assert last["level"] == "critical"
    assert last["event"] == "ended by an error"
    assert error.partition("(")[0] in last["error"]
    assert "dies.py" in last["exception"]
    assert "in fail" in last["exception"]
    assert "resqpy:" in output
