"""The tour of all commands, docs/reference/cli-tour.md: `python -m tests.cli.tour` writes it anew.

The commands run on a Redis that holds what real Ruby and Node programs left, and in the sample project.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

from redis.asyncio import Redis

from resqpy.embedded import PrivateServer
from tests.support import recordings
from tests.support.source import ROOT

DOC = ROOT / "docs" / "reference" / "cli-tour.md"

HEAD = """# A tour of the command line

What the commands print on a Redis that holds what real Ruby and Node programs left there (recorded from
resque 3.0, resque-scheduler 5.0 and node-resque 9.7), in the folder of the sample project. No Python worker
has ever seen it. All options: [the command line](cli.md).
"""

# A heading, or commands.
STEPS: tuple[str | tuple[str, ...], ...] = (
    "The whole", ("info", "doctor"),
    "Queues and jobs", ("queues --waiting", "jobs alpha --limit 8", "jobs alpha --limit 2 --json"),
    "Failed jobs",
    (
        "failed --limit 6",
        "failed list --class Boom --exception Error --limit 3",
        "failed retry --class Boom --dry-run",
        "failed retry --class Boom --yes",
        "failed remove --all",
    ),
    "Workers", ("workers", "workers clean --older-than 1h --dry-run"),
    "Delayed and periodic", ("delayed", "schedule", "leader"),
    "Locks and counters", ("locks", "stats", "pause", "resume"),
    "The project's tasks",
    (
        "task list",
        "task show sendWelcomeEmail",
        "task enqueue sendWelcomeEmail to=ada@example.com",
        "task enqueue sendWelcomEmail",
        "task enqueue sendWelcomeEmail to=ada",
        "task run count_words text='to be or not to be'",
        "task explain sendWelcomeEmail",
    ),
    "What it reads", ("config show tasks.queues redis.namespace logger.level --origin",),
    "Health", ("healthcheck --worker --scheduler",),
)  # fmt: skip

_TIMES = re.compile(
    r"(?:in |for )?\d+ (?:ms|s|m|h|d)(?: \d+ (?:ms|s|m|h|d))?(?: ago)?|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC|"
    r"\d+ seconds"
)


def normal(text: str) -> str:
    """A tour without what differs from time to time: ages, dates, the widths of columns."""
    return re.sub(r"[ \t]+", " ", _TIMES.sub("…", text))


def tour(folder: Path) -> str:
    """Take the tour in a copy of the sample project; the document."""
    with PrivateServer() as server:
        asyncio.run(_fill(server.url))
        parts = [HEAD]
        for step in STEPS:
            if isinstance(step, str):
                parts.append(f"\n## {step}\n")
            else:
                parts += [_shown(command, folder, server.url) for command in step]
        return "\n".join(parts)


async def _fill(url: str) -> None:
    async with Redis.from_url(url) as redis:
        for name in recordings.INSTALLATIONS:
            await recordings.replay(redis, name)


def _shown(command: str, folder: Path, url: str) -> str:
    mine = ("RESQPY", "REDIS", "PYTEST", "COV_")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(mine)}
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -P -m resqpy.cli {command}"],
        cwd=folder,
        env={**clean, "REDIS_URL": url, "TZ": "UTC", "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    code = f"(exit code {done.returncode})\n" if done.returncode else ""
    return f"```console\n$ resqpy {command}\n{done.stdout.rstrip()}\n{code}```\n"


if __name__ == "__main__":
    DOC.write_text(tour(ROOT))
