"""From nothing to a first job that has run, as the first page of each library does it: seconds from the
first command after the installation, and the processor time of all that was started, until it is stopped, which
depends less on what else the machine does. Only by name: the others are installed from the registry first.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from resqpy.embedded.process import find_binary
from tests.benchmarks.peers import ROOT
from tests.benchmarks.report import Section, middle
from tests.benchmarks.runner import Bench

NAME = "first-job"
_WITHIN_S = 60.0
_SAYS = 'open("done", "w").write("x")'


@dataclass(frozen=True)
class _Way:
    """How one library gets to its first job.

    Attributes:
        files: what is written, by name; `{port}` is that of the server.
        server: "redis", "postgres", or "": it brings its own.
        before: what is run to its end before the worker.
        worker: what goes on.
        send: what enqueues the job, in a program of its own; it is repeated until the server answers.
    """

    files: dict[str, str]
    worker: str
    send: str = "python send.py"
    server: str = "redis"
    before: str = ""


WAYS = {
    "resqpy": _Way(
        {"tasks.py": f"from resqpy import task\n\n\n@task\ndef hello() -> None:\n    {_SAYS}\n",
         "send.py": "from tasks import hello\n\nhello.sync.enqueue()\n"},
        "resqpy start", server="",
    ),
    "RQ": _Way(
        {"tasks.py": f"def hello():\n    {_SAYS}\n",
         "send.py": "from redis import Redis\nfrom rq import Queue\nfrom tasks import hello\n\n"
                    "Queue(connection=Redis(port={port})).enqueue(hello)\n"},
        "rq worker --url redis://localhost:{port}",
    ),
    "Dramatiq": _Way(
        {"tasks.py": "import dramatiq\nfrom dramatiq.brokers.redis import RedisBroker\n\n"
                     "dramatiq.set_broker(RedisBroker(port={port}))\n\n\n"
                     f"@dramatiq.actor\ndef hello():\n    {_SAYS}\n",
         "send.py": "from tasks import hello\n\nhello.send()\n"},
        "dramatiq tasks",
    ),
    "Celery": _Way(
        {"tasks.py": "from celery import Celery\n\n"
                     'app = Celery("tasks", broker="redis://localhost:{port}")\n\n\n'
                     f"@app.task\ndef hello():\n    {_SAYS}\n",
         "send.py": "from tasks import hello\n\nhello.delay()\n"},
        "celery -A tasks worker",
    ),
    "Procrastinate": _Way(
        {"tasks.py": "from procrastinate import App, PsycopgConnector\n\napp = App(connector=PsycopgConnector("
                     'conninfo="host=localhost port={port} user=postgres"))\n\n\n'
                     f"@app.task\ndef hello():\n    {_SAYS}\n",
         "send.py": "from tasks import app, hello\n\nwith app.open():\n    hello.defer()\n"},
        "procrastinate --app=tasks.app worker",
        server="postgres", before="procrastinate --app=tasks.app schema --apply",
    ),
}  # fmt: skip


def measure(bench: Bench) -> Section:
    """Medians of turns that alternate."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        programs = environment(root / "venv")
        ways = {name: way for name, way in WAYS.items() if way.server in _servers()}
        taken: dict[str, list[float]] = {name: [] for name in ways}
        worked: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(bench.size(5, 1)):
            for name, way in ways.items():
                before_s = _processor_s()
                taken[name].append(_seconds(way, root / f"{name}-{turn}", programs))
                worked[name].append(_processor_s() - before_s)
    lines = [
        f"  {middle(taken[name]):5.2f} s  {name:14} {middle(worked[name]):5.2f} s of processor time"
        for name in ways
    ]
    left_out = [f"  not run: {name} (no {WAYS[name].server} here)" for name in WAYS.keys() - ways]
    heading = "from the first command after the installation to the end of the first job:"
    return Section(NAME, text="\n".join([heading, *lines, *left_out]))


def _processor_s() -> float:
    """Of all children that have ended; a server that detaches itself, as our embedded one, is none."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _servers() -> set[str]:
    return {"", "redis"} | ({"postgres"} if shutil.which("initdb") else set())


def environment(folder: Path) -> Path:
    """Install all of them; the folder with their commands."""
    venv.create(folder, with_pip=True, symlinks=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-qq"]
    requirements = Path(__file__).with_suffix(".txt")
    subprocess.run([*pip, "-r", str(requirements), f"{ROOT}[embedded]"], check=True)
    return folder / "bin"


def _seconds(way: _Way, folder: Path, programs: Path) -> float:
    folder.mkdir()
    port = free_port()
    for name, text in way.files.items():
        (folder / name).write_text(text.replace("{port}", str(port)))
    # As Procrastinate wants it; the others look there by themselves.
    environ = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": "."}
    with contextlib.ExitStack() as stack:

        def run(command: str) -> subprocess.Popen[bytes]:
            words = command.replace("{port}", str(port)).split()
            log = stack.enter_context((folder / "log").open("ab"))
            return subprocess.Popen(
                words, cwd=folder, env=environ, stdout=log, stderr=log, start_new_session=True
            )

        if way.server == "postgres":  # its data are there already
            stack.enter_context(_data(folder / "data"))
        began = time.perf_counter()
        deadline = began + _WITHIN_S
        if way.server:
            stack.enter_context(ended(run(_server(way.server, folder))))
        if way.before:
            _until_done(way.before, run, deadline, folder)
        stack.enter_context(ended(run(way.worker)))
        _until_done(way.send, run, deadline, folder)
        while not (folder / "done").exists():
            _check(deadline, folder)
        return time.perf_counter() - began


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return int(free.getsockname()[1])


def _server(name: str, folder: Path) -> str:
    if name == "redis":
        return f"{find_binary()} --port {{port}} --save ''"
    return _as_no_root(f"postgres -D {folder}/data -p {{port}} -k {folder}/data")


def _as_no_root(command: str) -> str:
    """PostgreSQL refuses to run as root."""
    return command if os.geteuid() else f"runuser -u postgres -- {command}"


@contextlib.contextmanager
def _data(folder: Path) -> Iterator[None]:
    folder.mkdir()
    if not os.geteuid():
        shutil.chown(folder, "postgres")
        for parent in list(folder.parents)[:2]:  # the temporary folder is root's alone
            parent.chmod(0o755)
    command = _as_no_root(f"initdb -D {folder} -A trust -U postgres --no-sync")
    subprocess.run(command.split(), check=True, capture_output=True)
    yield


@contextlib.contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End a process and its children with the block."""
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20.0)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _until_done(
    command: str, run: Callable[[str], subprocess.Popen[bytes]], deadline: float, folder: Path
) -> None:
    """Run it, again while the server is not there yet."""
    while run(command).wait():
        _check(deadline, folder)


def _check(deadline: float, folder: Path) -> None:
    if time.perf_counter() > deadline:
        raise TimeoutError(f"no job has run: {(folder / 'log').read_text()[-2000:]}")
    time.sleep(0.01)
