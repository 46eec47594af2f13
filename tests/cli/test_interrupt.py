"""Ctrl-C in each command, wherever it is: one word, exit code 130, and the terminal as it was."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import click
import pytest

from resqpy.cli.main import cli, run
from resqpy.cli.output.printing import Exit
from tests.cli.conftest import Call
from tests.support.pty_program import PtyProgram

ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"

# A command of each kind; the others wait in the same places, and are looked at with --all.
SOME = ("doctor", "top", "console", "failed list", "failed retry --all", "jobs move a b")
OTHERS = (
    "failed show ab", "failed groups", "failed remove --all",
    "jobs list", "jobs remove a --class b", "queues list",
    "queues delete a", "queues pause a", "queues resume a", "limits list",
    "limits set a 1", "limits remove a", "limits put-back", "limits shut a 1s", "limits open a",
    "delayed list", "delayed remove --class a",
    "delayed run --class a", "workers list", "workers clean a:1",
    "workers cancel a:1", "schedule list", "schedule fires", "schedule history a",
    "schedule import /dev/null", "schedule pause a", "schedule add a sendMail to=a@b --every 1h",
    "schedule change a --every 1h", "schedule remove a",
    "schedule resume a", "schedule trigger a", "process list", "process ping --all",
    "process stacks --all", "process quiet --all", "process stop --all", "process scale 1 --all",
    "process log-level debug --all",
    "locks list", "locks remove a", "leader", "leave", "migrate", "stats", "info",
    "mark v1", "pause", "resume", "healthcheck", "task enqueue sendMail to=a@b", "task explain sendMail",
    "task run sendMail to=a@b", "tracked create sendMail to=a@b", "tracked get a", "tracked list",
    "tracked cancel a", "tracked retry a", "tracked enable a", "tracked disable a",
    "tracked remove a --yes", "tracked watch", "web link", "web users list",
    "web users add a", "web users remove a", "web token create a --scope read", "web token list",
    "web token revoke a",
)  # fmt: skip
# They ask no Redis, and have ended before anybody could press a key.
AT_ONCE = {"version", "completion", "config show", "init", "new", "task list", "task show"}
# Ctrl-C is how they are told to end: tests/cli/test_worker.py, test_start.py, test_background.py,
# tests/web/test_serving.py.
TOLD_TO_END = {"start", "worker", "scheduler", "web serve"}


@pytest.fixture
def silent() -> Iterator[tuple[str, threading.Event]]:
    """A server that never answers, and whether somebody has come."""
    asked = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                kept.append(server.accept()[0])
                kept[0].recv(1)
                asked.set()

        kept: list[socket.socket] = []
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0", asked
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        for each in kept:
            each.close()
        thread.join()


@pytest.mark.parametrize(
    "words", [*SOME, *(pytest.param(each, marks=pytest.mark.full) for each in OTHERS)]
)
def test_ctrl_c_ends_a_command(
    environ: dict[str, str], root: Path, silent: tuple[str, threading.Event], words: str
) -> None:
    """While it waits for Redis; `top` ends so by itself, which is no interruption."""
    url, asked = silent
    env = {**environ, "REDIS_URL": url}
    with PtyProgram(*words.split(), env=env, cwd=str(root)) as command:
        before = command.modes()
        assert asked.wait(20), command.seen
        command.press("\x03")
        code = command.ended()

        assert code == (Exit.OK if words == "top" else Exit.INTERRUPTED)
        assert "Traceback" not in command.seen
        assert command.modes() == before
        assert command.seen.replace("^C", "").split() == ([] if words == "top" else ["interrupted"])


def test_each_command_is_looked_at() -> None:
    """A new one joins a list above."""
    known = {" ".join(each.split()[:2]) for each in (*SOME, *OTHERS)} | AT_ONCE | TOLD_TO_END
    leaves = set(_leaves(cli, ""))
    known |= leaves & {each.split()[0] for each in OTHERS}  # whose second word is an argument

    missing = [
        name for name in leaves
        if not name.startswith("generate ")
        and known.isdisjoint({" ".join(name.split()[:length]) for length in (1, 2, 3)})
    ]  # fmt: skip

    assert missing == []


def _leaves(found: click.Command, path: str) -> Iterator[str]:
    if not isinstance(found, click.Group):
        yield path.strip()
        return
    context = click.Context(found)
    for name in found.list_commands(context):
        command = found.get_command(context, name)
        assert command is not None
        same = path == " task" and f"tracked {name}" in " ".join((*SOME, *OTHERS))
        if not same:
            yield from _leaves(command, f"{path} {name}")


TASKS = '''
    import asyncio, time
    from resqpy import task

    @task
    async def sleeps() -> None:
        """Sleep."""
        print("asleep", flush=True)
        await asyncio.sleep(60)

    @task
    def sleeps_in_a_thread() -> None:
        """Sleep."""
        print("asleep", flush=True)
        for _ in range(6000):
            time.sleep(0.01)
'''


@pytest.mark.parametrize("name", ["sleeps", "sleeps_in_a_thread"])
def test_ctrl_c_ends_a_task_that_runs_here(environ: dict[str, str], root: Path, name: str) -> None:
    """It is no failure of the task."""
    (root / "tasks" / "sleep.py").write_text(dedent(TASKS))
    with PtyProgram("task", "run", name, env=environ, cwd=str(root)) as command:
        command.wait_for("asleep")
        command.press("\x03")

        assert command.ended() == Exit.INTERRUPTED
        assert command.seen.split()[-1] == "interrupted"


def test_ctrl_c_in_the_console_ends_a_line(environ: dict[str, str], root: Path) -> None:
    """Also what a line began; the console goes on, and ends as Python's does."""
    with PtyProgram("console", env=environ, cwd=str(root)) as console:
        at = console.wait_for(">>> ")
        console.press("half a li\x03")
        at = console.wait_for("KeyboardInterrupt\r\n>>> ", after=at, again="\x03")
        console.press("print('o' + 'n it'); await asyncio.sleep(60)\r")
        at = console.wait_for("on it", after=at)
        console.press("\x03")
        at = console.wait_for("KeyboardInterrupt\r\n>>> ", after=at, again="\x03")
        console.press("await api.tasks.failed_count() + 41\r")
        console.wait_for("\n41\r\n", after=at)
        console.press("exit(3)\r")

        assert console.ended() == 3
        assert "Traceback" not in console.seen


def test_the_console_completes_and_remembers_lines(environ: dict[str, str], root: Path) -> None:
    """Tab ends a name of what `api` leads to; the arrow up brings the line before."""
    with PtyProgram("console", env=environ, cwd=str(root)) as console:
        at = console.wait_for(">>> ")
        console.press("await api.tasks.failed_c\t")
        at = console.wait_for("failed_count()", after=at)
        console.press(" + 41\r")
        at = console.wait_for("\n41\r\n>>> ", after=at)
        console.press("\x1b[A + 1\r")
        console.wait_for("\n42\r\n", after=at)


@pytest.mark.parametrize("stop", [True, False])
def test_top_gives_the_terminal_back(environ: dict[str, str], root: Path, *, stop: bool) -> None:
    """At Ctrl-Z until `fg`, and at TERM: the modes, the cursor and the screen are as before."""
    with PtyProgram("top", "--interval", "100ms", env=environ, cwd=str(root)) as top:
        before = top.modes()
        at = top.wait_for("waiting 0")
        meanwhile = top.modes()
        if stop:
            top.press("\x1a")
            os.waitid(os.P_PID, top.process.pid, os.WSTOPPED | os.WNOWAIT)
            at = top.wait_for(LEAVE, after=at)
            stopped = top.modes()
            top.process.send_signal(signal.SIGCONT)  # as `fg` does
            at = top.wait_for(ENTER, after=at)
            top.wait_for("waiting 0", after=at)

            assert (stopped, top.modes()) == (before, meanwhile)
        top.process.terminate()

        assert top.ended() == Exit.OK
        assert top.modes() == before
        assert top.seen.endswith(LEAVE)


def test_an_error_that_nobody_foresaw_is_one_line(
    resqpy: Call, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1; RESQPY_DEBUG (--debug) shows where it came from."""
    (root / "commands").mkdir()
    (root / "commands" / "odd.py").write_text(
        "import click\n\n\n@click.command()\ndef command():\n    1 / 0\n"
    )

    said = resqpy("odd")

    assert (said.code, said.out) == (Exit.ERROR, "")
    assert said.err.splitlines() == [
        "resqpy: unexpected ZeroDivisionError: division by zero (use --debug for a traceback)"
    ]
    monkeypatch.setenv("RESQPY_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        run(["odd"])
