"""The processes of a storm, as users start them, of this version of resqpy and of another one."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parents[2]
PROJECT = Path(__file__).parent / "project"

SETTINGS = {
    "RESQPY_TASKS_HEARTBEAT": "500",
    "RESQPY_TASKS_CHECK_TIMEOUT": "200",
    "RESQPY_TASKS_STOP_TIMEOUT": "2000",
    "RESQPY_SCHEDULER_RESCUE_AFTER": "4000",
    "RESQPY_SCHEDULER_LEASE": "3000",
    "RESQPY_SCHEDULER_TASK_LOST_AFTER": "5000",
    "RESQPY_REDIS_REPLY_TIMEOUT": "1500",
    "RESQPY_REDIS_CONNECT_TIMEOUT": "1500",
    "RESQPY_LOGGER_LEVEL": "warning",
    "RESQPY_DEBUG": "1",  # the whole of an error that ends a process
}


@dataclass(frozen=True)
class Role:
    """How a process is started.

    Attributes:
        words: its command.
        code: the folder that has the package `resqpy`.
    """

    words: tuple[str, ...]
    code: Path = HERE


@dataclass
class Member:
    """A process and what it is."""

    role: Role
    process: asyncio.subprocess.Process
    frozen: bool = False

    @property
    def pid(self) -> int:
        """Its number."""
        return self.process.pid

    @property
    def hears(self) -> bool:
        """Whether it has begun to listen to TERM: one that still loads its code just dies of it."""
        status = Path(f"/proc/{self.pid}/status")
        if self.process.returncode is not None or not status.exists():
            return True
        [caught] = [line.split()[1] for line in status.read_text().splitlines() if "SigCgt" in line]
        return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)

    def freeze(self) -> None:
        """Let it stand still."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGSTOP)
            self.frozen = True

    def thaw(self) -> None:
        """Let it go on."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGCONT)
        self.frozen = False


class Fleet:
    """Starts processes, and ends them in peace or not.

    Args:
        folder: for the notes of the tasks, and for the logs.

    Attributes:
        died: how many ended by themselves, by their command and exit code.
    """

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.notes = folder / "notes"
        self.notes.touch()
        self.log = folder / "log"
        self.members: list[Member] = []
        self.settings = dict(SETTINGS)
        self.died: Counter[str] = Counter()
        self._chance = chance

    async def start(self, role: Role, url: str) -> Member:
        """One more."""
        settings = self.settings | {"PYTHONPATH": str(role.code), "STORM_NOTES": str(self.notes)}
        clean = {key: value for key, value in os.environ.items() if not key.startswith("RESQPY")}
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "resqpy.cli", *role.words, "-C", str(PROJECT), "-r", url,
                env=clean | settings, stdout=log, stderr=log, stdin=asyncio.subprocess.DEVNULL,
                cwd=self.log.parent,
            )  # fmt: skip
        member = Member(role, process)
        self.members.append(member)
        return member

    def any(self) -> Member:
        """One of those that are not frozen."""
        return self._chance.choice([each for each in self.members if not each.frozen])

    def has(self, pid: int) -> bool:
        """Whether it is a process of ours that was not ended, or a child of one."""
        ours = {each.pid for each in self.members if each.process.returncode is None}
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:  # it has ended
            return False
        [parent] = [line.split()[1] for line in status.splitlines() if line.startswith("PPid:")]
        return pid in ours or int(parent) in ours

    async def replace_the_dead(self, url: Callable[[], str]) -> None:
        """Start those again that ended by themselves, as a service manager does."""
        for member in self.count_the_dead():
            await self.start(member.role, url())

    def count_the_dead(self) -> list[Member]:
        """Those that ended by themselves; they are told, and are no members any more."""
        dead = [each for each in self.members if each.process.returncode is not None]
        for member in dead:
            self.members.remove(member)
            self.died[f"{member.role.words[0]}: {member.process.returncode}"] += 1
        return dead

    async def kill(self, member: Member) -> None:
        """`kill -9`, also of one that is frozen."""
        self.members.remove(member)
        if member.process.returncode is None:
            member.process.kill()
        await member.process.wait()

    async def stop(self, member: Member, within_s: float = 60.0) -> int:
        """TERM; the code with which it ends."""
        self.members.remove(member)
        if member.process.returncode is None:
            member.thaw()
            member.process.terminate()
        try:
            return await asyncio.wait_for(member.process.wait(), within_s)
        except TimeoutError:
            member.process.kill()
            await member.process.wait()
            raise AssertionError(
                f"{member.role.words} did not end within {within_s:g} s of TERM"
            ) from None

    async def close(self) -> None:
        """Leave nobody behind."""
        for member in [*self.members]:
            await self.kill(member)
