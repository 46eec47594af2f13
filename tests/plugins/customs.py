"""Custom plugins, as users write them."""

from __future__ import annotations

from typing import Any, ClassVar

from resqpy import Plugin
from resqpy.engine.plugin import CallNext, Enqueuing
from resqpy.engine.run import Run


class Veto(Plugin):
    """Forbids every run."""

    async def before_perform(self, run: Run) -> bool:
        """Forbid it."""
        return False


class Diary(Plugin):
    """Writes down what it sees, under the name that the option `name` gives it."""

    option_names: ClassVar[frozenset[str]] = frozenset({"pages", "forbid", "fail"})

    def _write(self, hook: str, seen: Any = None) -> None:
        self.options["pages"].append((self.name, hook, seen))
        if hook == self.options.get("fail"):
            raise RuntimeError(f"{self.name} failed in {hook}")

    async def before_enqueue(self, job: Enqueuing) -> bool:
        """Write it down."""
        self._write("before_enqueue", (job.class_name, job.queue, job.args))
        return self.options.get("forbid") != "enqueue"

    async def after_enqueue(self, job: Enqueuing) -> None:
        """Write it down."""
        self._write("after_enqueue")

    async def before_perform(self, run: Run) -> bool:
        """Write it down."""
        self._write("before_perform", (run.class_name, run.queue, run.args))
        return self.options.get("forbid") != "perform"

    async def after_perform(self, run: Run) -> None:
        """Write it down."""
        self._write("after_perform", repr(run.error) if run.error else None)


class Outer(Diary):
    """A diary of its own name."""


class Inner(Diary):
    """Another."""


class Twice(Plugin):
    """Runs a job again at once if it failed."""

    async def around(self, run: Run, call_next: CallNext) -> None:
        """Two attempts."""
        await call_next()
        if run.error is not None:
            run.error = None
            await call_next()


class Absent(Plugin):
    """Forgets to go on."""

    async def around(self, run: Run, call_next: CallNext) -> None:
        """Nothing."""


class Plain(Plugin):
    """Plain functions as hooks."""

    seen: ClassVar[list[str]] = []

    def before_perform(self, run: Run) -> bool:  # type: ignore[override]  # a plain one is allowed
        """Write it down."""
        self.seen.append("before")
        return run.args != ["never"]

    def after_perform(self, run: Run) -> None:  # type: ignore[override]  # a plain one is allowed
        """Forgive."""
        self.seen.append("after")
        run.error = None


class Follow(Plugin):
    """Enqueues a job after each one."""

    async def after_perform(self, run: Run) -> None:
        """Enqueue it."""
        await run.queue_object.enqueue("next", "followed", run.args)

    async def after_enqueue(self, job: Enqueuing) -> None:
        """Enqueue another."""
        await job.queue_object.enqueue("next", "announced", job.args)
