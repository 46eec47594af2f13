"""`resqpy start`: worker and scheduler for development, new at each change."""

from __future__ import annotations

import signal
from pathlib import Path

from redis.asyncio import Redis

from resqpy import Queue
from tests.cli.conftest import Program
from tests.cli.processes import ended, registered
from tests.support.waiting import wait_for


async def test_start_reloads_on_change(
    program: Program, redis: Redis, redis_url: str, root: Path
) -> None:
    """A changed task counts at once; one that is broken is told, and mended without a new start."""
    log = root.parent / "log"
    running = program("start", "--logfile", str(log))
    [first] = await registered(redis)
    file = root / "tasks" / "mail.py"
    text = file.read_text()

    file.write_text("x = 1 +\n")
    await wait_for(lambda: "mend the project" in log.read_text(), timeout=15)
    file.write_text(text.replace("mail to", "letter to"))
    [second] = await registered(redis)
    async with Queue(redis_url) as queue:
        await queue.enqueue("q", "sendMail", [{"to": "ada@example.com"}])
    await wait_for(lambda: redis.get("resque:stat:processed"), timeout=15)
    leader = await redis.get("resque:resqpy:leader")
    running.send_signal(signal.SIGINT)
    code, output = ended(running)

    assert first != second
    assert leader is not None
    assert code == 0
    assert "SyntaxError" in output
    assert "letter to ada@example.com" in output
