"""`resqpy start`: worker and scheduler for development, new at each change."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest
from redis.asyncio import Redis

from resqpy import Queue
from resqpy.cli.processes.fleet import files_of
from tests.cli.conftest import Program
from tests.cli.processes import ended, pids, registered
from tests.support.waiting import wait_for


async def test_start_reloads_on_change(
    program: Program, redis: Redis, redis_url: str, root: Path
) -> None:
    """A changed task counts at once; one that is broken is told, and the old one works on till it is mended."""
    log = root.parent / "log"
    running = program("start", "--logfile", str(log))
    [first] = await registered(redis)
    file = root / "tasks" / "mail.py"
    text = file.read_text()

    file.write_text("x = 1 +\n")
    await wait_for(lambda: "the old process continues" in log.read_text(), timeout=120)
    assert await registered(redis) == {first}
    file.write_text(text.replace("mail to", "letter to"))
    [second] = await wait_for(lambda: _others(redis, {first}), timeout=120)
    async with Queue(redis_url) as queue:
        await queue.enqueue("q", "sendMail", [{"to": "ada@example.com"}])
    await wait_for(lambda: redis.get("resque:stat:processed"), timeout=120)
    leader = await redis.get("resque:resqpy:leader")
    running.send_signal(signal.SIGINT)
    code, output = ended(running)

    assert first != second
    assert leader is not None
    assert code == 0
    assert "SyntaxError" in output
    assert "letter to ada@example.com" in output


async def test_the_first_process_imports_nothing_again(
    program: Program, redis: Redis, root: Path
) -> None:
    """It begins as a copy of the one that watches, which runs no task file; the next one is a new program, so that
    it reads all code anew.
    """
    log = root.parent / "log"
    file = root / "tasks" / "mail.py"
    file.write_text(file.read_text() + "import sys\nprint('loaded by', *sys.orig_argv)\n")
    running = program("start", "--logfile", str(log))
    await registered(redis)

    file.write_text(file.read_text() + "x = 1\n")
    await wait_for(lambda: log.read_text().count("process started") == 2, timeout=120)
    running.send_signal(signal.SIGINT)
    code, output = ended(running)

    loads = [line.split() for line in output.splitlines() if line.startswith("loaded by")]
    assert (code, ["start" in each for each in loads]) == (0, [sys.platform != "darwin", False])


@pytest.mark.parametrize("path", ["tasks/new.py", "helper.py", "shop/models.py", "config/tasks.py"])
def test_each_python_file_is_watched(root: Path, path: str) -> None:
    """Also modules that tasks import from elsewhere in the project; one that is deleted is a change."""
    before = dict(files_of(root))
    file = root / path
    file.parent.mkdir(exist_ok=True)
    file.write_text("X = 1\n")

    assert set(dict(files_of(root))) - set(before) == {file}


@pytest.mark.parametrize("folder", ["tests", ".venv", "env", "tasks/__pycache__", "node_modules"])
def test_what_no_task_imports_is_not_watched(root: Path, folder: str) -> None:
    """Tests, what tools write, and virtual environments whatever their name."""
    (root / folder).mkdir()
    (root / folder / "x.py").write_text("X = 1\n")
    if folder == "env":
        (root / folder / "pyvenv.cfg").write_text("")

    assert root / folder / "x.py" not in dict(files_of(root))


async def test_a_change_while_a_new_process_begins_counts(
    program: Program, redis: Redis, root: Path
) -> None:
    """What was saved last is what runs, however quick the saves."""
    file = root / "tasks" / "mail.py"
    text = file.read_text()
    slow = "import time\ntime.sleep(0.6)\n"  # while the file is loaded, it is saved again
    log = root.parent / "log"
    running = program("start", "--logfile", str(log))
    await registered(redis)

    file.write_text(slow + text.replace("mail to", "first to"))
    await wait_for(lambda: "files changed" in log.read_text(), timeout=120)
    await wait_for(lambda: log.read_text().count("process ended") == 1, timeout=120)
    await asyncio.sleep(0.5)
    file.write_text(text.replace("mail to", "second to"))
    await wait_for(lambda: log.read_text().count("process started") == 3, timeout=120)
    running.send_signal(signal.SIGINT)

    assert ended(running)[0] == 0
    assert log.read_text().count("files changed") == 2


async def test_ctrl_c_twice_ends_it_at_once(
    program: Program, redis: Redis, redis_url: str, root: Path
) -> None:
    """The first lets a running job end, the second puts it back."""
    (root / "tasks" / "long.py").write_text(
        "import asyncio\nfrom resqpy import task\n\n@task()\nasync def long():\n"
        "    'Sleep.'\n    await asyncio.sleep(60)\n"
    )
    running = program("start")
    await registered(redis)
    async with Queue(redis_url) as queue:
        await queue.enqueue("q", "long", [{}])
    await wait_for(lambda: _is_taken(redis), timeout=120)
    running.send_signal(signal.SIGINT)
    await asyncio.sleep(0.35)
    running.send_signal(signal.SIGINT)
    code, output = ended(running)

    assert (code, "stopping now" in output) == (0, True)
    assert await redis.llen("resque:queue:q") == 1


async def _others(redis: Redis, old: set[str]) -> set[str]:
    """The pids of live processes that are none of the old ones."""
    return await pids(redis) - old


async def _is_taken(redis: Redis) -> bool:
    return bool(await redis.exists("resque:queues")) and await redis.llen("resque:queue:q") == 0
