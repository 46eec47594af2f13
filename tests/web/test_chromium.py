"""The hostile store in a real browser: no script runs, nothing is blocked that a page needs."""

from __future__ import annotations

import asyncio
import shutil
import socket
from pathlib import Path

import pytest
import uvicorn
from redis.asyncio import Redis

from tests.support.waiting import wait_for
from tests.web import hostile
from tests.web.conftest import MakeConsole, as_role

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PAGES = (
    "/",
    "/queues",
    "/failed",
    "/failed/entries",
    "/delayed",
    "/schedules",
    "/tasks",
    "/workers",
    "/audit",
)


@pytest.mark.full
@pytest.mark.timeout(180)
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt-get install chromium)")
async def test_chromium_runs_nothing(
    make_console: MakeConsole, redis: Redis, tmp_path: Path
) -> None:
    """What it complains of (a blocked script or style, an error) it writes to its log as CONSOLE."""
    await hostile.fill(redis)
    console = make_console(authenticate=as_role("admin"))
    config = uvicorn.Config(console, lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        await wait_for(lambda: server.started)
        for path in PAGES:
            shown, log = await dump(f"http://127.0.0.1:{listener.getsockname()[1]}{path}", tmp_path)
            assert "<h1>" in shown, (path, log[-2000:])
            assert hostile.read(shown).foreign == [], path
            assert "CONSOLE" not in log, (path, log[-2000:])
        server.should_exit = True
        await serving


async def dump(url: str, profile: Path) -> tuple[str, str]:
    """The page as the browser has it after its scripts have run, and the browser's log."""
    process = await asyncio.create_subprocess_exec(
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
        "--enable-logging=stderr", "--virtual-time-budget=1000", "--dump-dom", url,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return out.decode("utf-8", "replace"), err.decode("utf-8", "replace")
