"""How long the ways through the house are: the files and functions of resqpy that each walk goes through, in the
thread of the event loop. `bin/walks [--names]`; with names, which.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType, FrameType
from typing import Any

import resqpy
from resqpy import Process, Project
from resqpy.embedded import PrivateServer
from resqpy.framework.api.api import api

PACKAGE = f"{Path(resqpy.__file__).parent}/"
NO_FUNCTIONS = frozenset({"<module>", "<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"})
AIMS: dict[str, tuple[int, int | None]] = {  # files, functions
    "enqueue": (8, 25),
    "enqueue and run": (22, 75),
    "tracked create to complete": (40, 150),
    "stop": (12, None),
}
PROJECT = """
from resqpy import task

@task
async def nothing(n: int) -> None: ...
"""


class Progress:
    """The code that was gone through."""

    def __init__(self) -> None:
        self.codes: set[CodeType] = set()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Note all functions that begin or go on meanwhile."""
        sys.setprofile(self._note)
        try:
            yield
        finally:
            sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(PACKAGE):
            self.codes.add(code)

    def functions(self) -> list[str]:
        """Their names, behind those of their files."""
        return sorted(
            f"{code.co_filename.removeprefix(PACKAGE)}:{code.co_qualname}"
            for code in self.codes
            if code.co_name not in NO_FUNCTIONS
        )


async def walks(root: Path, url: str) -> dict[str, Progress]:
    """All of them, each gone twice, so that what is made at the first use is there at the second."""
    (root / "tasks").mkdir()
    (root / "tasks" / "nothing.py").write_text(PROJECT)
    settings = {"redis.url": url, "tasks.min_task_processors": 1, "tasks.max_task_processors": 1}
    project = Project.load(root, "test", settings, environ={})
    found: dict[str, Progress] = {}
    async with Process(project, worker=False, scheduler=False):
        for _ in range(2):
            found["enqueue"] = Progress()
            with found["enqueue"].watched():
                await api.tasks.enqueue("nothing", {"n": 1})
    process = Process(project, worker=True, scheduler=False)
    await process.start()
    worker: Any = process.resque.multi_worker
    ended: asyncio.Queue[None] = asyncio.Queue()
    worker.on("success", lambda *_: ended.put_nowait(None))
    await ended.get()
    await ended.get()
    ways: dict[str, Callable[..., Awaitable[Any]]] = {
        "enqueue and run": api.tasks.enqueue,
        "tracked create to complete": api.tracked.create,
    }
    for name, way in [*ways.items(), *ways.items()]:
        found[name] = Progress()
        await worker.pool.idle()
        with found[name].watched():
            await way("nothing", {"n": 1})
            await ended.get()
    found["stop"] = Progress()
    with found["stop"].watched():
        await process.stop()
    return found


def main() -> None:
    """Print them."""
    with PrivateServer() as server, TemporaryDirectory() as folder:
        found = asyncio.run(walks(Path(folder), server.url))
    for name, (most_files, most_functions) in AIMS.items():
        functions = found[name].functions()
        files = len({each.partition(":")[0] for each in functions})
        aim = f"{most_files} / {most_functions or 'any'}"
        print(f"{name:26} {files:3} files {len(functions):4} functions   (aim: {aim})")
        if "--names" in sys.argv:
            print("".join(f"    {each}\n" for each in functions))


if __name__ == "__main__":
    main()
