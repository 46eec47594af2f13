"""A rate, and "at most N at once", beside BullMQ's and Celery's: how well they hold, what they ask of Redis,
and what they cost the tasks behind them. Only by name: the others are installed from the registries first.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import redis

from resqpy.embedded import PrivateServer
from tests.benchmarks.first_job import ended, environment, free_port
from tests.benchmarks.idle import asked
from tests.benchmarks.report import Section
from tests.benchmarks.runner import Bench

NAME = "rules"
_NODE = ("bullmq@6.7.0", "ioredis@5.11.1")
_RATE, _AT_ONCE, _WORK_MS = 50, 4, 20
_WITHIN_S = 120.0
_WATCHED_S = 60.0  # while idle: what is rare counts too
_HEADER = (
    f"jobs of {_WORK_MS} ms, two worker processes with 20 slots each (Celery's at once: {_AT_ONCE // 2} each);\n"
    "behind all of them, in the same queue, a job of another task without a rule:"
)

_PYTHON_NOTE = """
import time

def note(name, began):
    with open("ran", "a") as file:
        file.write(f"{name} {began} {time.time()}\\n")
"""
_RESQPY = f"""
import asyncio, os, time
from resqpy import Limit, Rate, task
{_PYTHON_NOTE}
rules = {{"rate": Rate({_RATE}, per=1000), "at once": Limit({_AT_ONCE}), "": None}}

@task(queue="q", limit=rules[os.environ["RULE"]])
async def limited() -> None:
    began = time.time()
    await asyncio.sleep({_WORK_MS / 1000})
    note("limited", began)

@task(queue="q")
async def other() -> None:
    note("other", time.time())
"""
_RESQPY_SEND = """
import sys
from tasks import limited, other

limited.sync.enqueue_many([{}] * int(sys.argv[1]))
other.sync.enqueue()
"""
_CELERY = f"""
import os, time
from celery import Celery
{_PYTHON_NOTE}
app = Celery("tasks", broker=os.environ["REDIS_URL"])
app.conf.task_ignore_result = True

@app.task(rate_limit="{_RATE}/s" if os.environ["RULE"] == "rate" else None)
def limited():
    began = time.time()
    time.sleep({_WORK_MS / 1000})
    note("limited", began)

@app.task
def other():
    note("other", time.time())
"""
_CELERY_SEND = """
import sys
from tasks import limited, other

for _ in range(int(sys.argv[1])):
    limited.delay()
other.delay()
"""
_BULL = f"""
const fs = require("fs"), {{ Queue, Worker }} = require("bullmq"), Redis = require("ioredis");
const connection = () => new Redis(process.env.REDIS_URL, {{ maxRetriesPerRequest: null }});
const rule = process.env.RULE;
const note = (name, began) => fs.appendFileSync("ran", `${{name}} ${{began / 1000}} ${{Date.now() / 1000}}\\n`);

async function main() {{
  const queue = new Queue("q", {{ connection: connection() }});
  if (process.argv[2]) {{
    const each = {{ name: "limited", data: {{}} }};
    await queue.addBulk(Array.from({{ length: Number(process.argv[2]) }}, () => each));
    await queue.add("other", {{}});
    process.exit(0);
  }}
  if (rule === "at once") await queue.setGlobalConcurrency({_AT_ONCE});
  new Worker("q", async (job) => {{
    const began = Date.now();
    if (job.name === "limited") await new Promise((done) => setTimeout(done, {_WORK_MS}));
    note(job.name, began);
  }}, {{ connection: connection(), concurrency: 20,
        limiter: rule === "rate" ? {{ max: {_RATE}, duration: 1000 }} : undefined }});
}}
main();
"""


@dataclass(frozen=True)
class _Way:
    """How one library is used; `{at_once}` is how many jobs a worker may run at once.

    Attributes:
        slots: for `{at_once}` under the rule "at once", where only a worker can say it.
    """

    files: dict[str, str]
    worker: str
    send: str
    slots: int = 20


WAYS = {
    "resqpy": _Way(
        {"tasks.py": _RESQPY, "send.py": _RESQPY_SEND},
        "resqpy worker --min {at_once} --max {at_once}",
        "python send.py",
    ),
    "BullMQ": _Way({"both.js": _BULL}, "node both.js", "node both.js"),
    "Celery": _Way(
        {"tasks.py": _CELERY, "send.py": _CELERY_SEND},
        "celery -A tasks worker --concurrency {at_once}",
        "python send.py",
        slots=_AT_ONCE // 2,
    ),
}


@dataclass(frozen=True)
class _Found:
    seconds: float
    most: int
    commands: float
    idle: float
    behind: float


def measure(bench: Bench) -> Section:
    """Each rule by each library."""
    jobs = bench.size(500, 100)
    lines = [_HEADER, ""]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        programs = environment(root / "venv")
        modules = root / "node"
        modules.mkdir()
        subprocess.run(
            ["npm", "install", "--silent", *_NODE], cwd=modules, check=True, capture_output=True
        )
        for rule, what in (("rate", "most begun in a second"), ("at once", "most at once")):
            ideal = jobs / _RATE if rule == "rate" else jobs * _WORK_MS / 1000 / _AT_ONCE
            named = f"{_RATE} a second" if rule == "rate" else f"{_AT_ONCE} at once"
            lines.append(
                f"  {named}, {jobs:,} jobs, {ideal:.1f} s at best\n    {'':8} {what:>22}"
                "  seconds  commands a job  sent a second when idle  the other ran after"
            )
            for name, way in WAYS.items():
                environ = {
                    **os.environ, "RULE": rule, "PATH": f"{programs}:{os.environ['PATH']}",
                    "PYTHONPATH": ".", "NODE_PATH": str(modules / "node_modules"),
                }  # fmt: skip
                found = _run(way, rule, jobs, root / f"{name} {rule}", environ)
                lines.append(
                    f"    {name:8} {found.most:>22}  {found.seconds:>7.1f}  {found.commands:>14.1f}"
                    f"  {found.idle:>23.1f}  {found.behind:>17.1f} s"
                )
    return Section(NAME, text="\n".join(lines))


def _run(way: _Way, rule: str, jobs: int, folder: Path, environ: dict[str, str]) -> _Found:
    folder.mkdir()
    for name, text in way.files.items():
        (folder / name).write_text(text)
    worker = way.worker.format(at_once=way.slots if rule == "at once" else 20).split()
    port = free_port()
    url = f"redis://localhost:{port}"
    config = ["save ''", f"port {port}"]
    with PrivateServer(config=config) as server, contextlib.ExitStack() as stack:
        environ = {**environ, "REDIS_URL": url, "RESQPY_REDIS_URL": url}
        client = redis.Redis(unix_socket_path=str(server.socket_path))
        log = stack.enter_context((folder / "log").open("ab"))

        def start(*command: str) -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                command, cwd=folder, env=environ, stdout=log, stderr=log, start_new_session=True
            )

        for _ in range(2):
            stack.enter_context(ended(start(*worker)))
        send = way.send.split()
        # The first jobs wait for the start of the workers; what is measured comes after them.
        assert start(*send, "4").wait() == 0, (folder / "log").read_text()
        _until(folder, 5)
        time.sleep(3.0)
        (folder / "ran").unlink()
        idle_rate = asked(server, _WATCHED_S) / _WATCHED_S
        before = _commands(client)
        assert start(*send, str(jobs)).wait() == 0
        _until(folder, jobs + 1)
        commands = _commands(client) - before
    runs = [line.split() for line in (folder / "ran").read_text().splitlines()]
    limited = sorted((float(began), float(done)) for name, began, done in runs if name == "limited")
    [other] = [float(began) for name, began, _ in runs if name == "other"]
    first, last = limited[0][0], max(done for _, done in limited)
    if rule == "rate":
        together = [sum(at <= began < at + 1.0 for began, _ in limited) for at, _ in limited]
    else:
        together = [sum(began <= at < done for began, done in limited) for at, _ in limited]
    return _Found(last - first, max(together), commands / jobs, idle_rate, max(0.0, other - first))


def _until(folder: Path, jobs: int) -> None:
    deadline, ran = time.monotonic() + _WITHIN_S, folder / "ran"
    while not ran.exists() or len(ran.read_text().splitlines()) < jobs:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not all have run: {(folder / 'log').read_text()[-2000:]}")
        time.sleep(0.05)


def _commands(client: redis.Redis) -> int:
    return int(client.info("stats")["total_commands_processed"])
