"""The file that undoes the repairs of `resqpy doctor --fix`: `resqpy doctor --undo FILE`."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resqpy.base import codec
from resqpy.base.clock import SYSTEM_CLOCK, iso_utc
from resqpy.base.errors import UsageError
from resqpy.diagnosis.problem import Problem
from resqpy.store.connection.client import Store
from resqpy.store.repair.undo import Command, Undo

_ABOUT = "undoes what `resqpy doctor --fix` changed: resqpy doctor --undo THIS-FILE"


class UndoFile:
    """The file with the undo commands.

    Raises:
        UsageError: it can't be written; nothing was repaired yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write({})

    @classmethod
    def new(cls, folder: Path) -> UndoFile:
        """One whose name contains the time."""
        now = iso_utc(SYSTEM_CLOCK.now_ms() * 1000)[:19].replace(":", "").replace("-", "")
        return cls(folder / f"resqpy-undo-{now}-{os.getpid()}.json")

    def write(self, commands: Mapping[str, Sequence[Command]]) -> None:
        """Write everything known so far."""
        undo = [
            {
                "problem": name,
                "commands": [[_shown(each) for each in command] for command in several],
            }
            for name, several in commands.items()
        ]
        lines = ",\n".join(codec.encode_text(each).decode() for each in undo)
        about = codec.encode_text(_ABOUT).decode()
        try:
            self.path.write_text(f'{{"about":{about},"undo":[\n{lines}\n]}}\n', encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"the undo file cannot be written ({error}); run this in a directory where it can be"
            ) from error


async def repair(store: Store, problems: Sequence[Problem], file: UndoFile) -> dict[str, int]:
    """Fix problems, and save in a file how to undo that; returns how many things were fixed, by problem."""
    undo, fixed = Undo(store), dict[str, int]()
    try:
        for each in problems:
            if each.fix is not None:
                undo.begin(each.name)
                fixed[each.name] = await each.fix(undo)
                file.write(undo.commands)
    finally:
        file.write(undo.commands)
    return fixed


def read(path: Path) -> list[Command]:
    """The commands of a file, the last repair first.

    Raises:
        UsageError: it is not an undo file.
    """
    try:
        data = codec.decode_text(path.read_text(encoding="utf-8"))
        several = [each["commands"] for each in data["undo"]]
        return [tuple(map(_arg, command)) for commands in reversed(several) for command in commands]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is not an undo file of `doctor --fix`: {error!r}") from error


def _shown(arg: Any) -> Any:
    """An argument of a command: unchanged if it is text, else in base64."""
    if not isinstance(arg, bytes):
        return arg if isinstance(arg, int) else _shown(str(arg).encode("utf-8", "surrogateescape"))
    try:
        return arg.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(arg).decode()}


def _arg(shown: Any) -> Any:
    if isinstance(shown, dict):
        return base64.b64decode(shown["base64"], validate=True)
    if not isinstance(shown, str | int):
        raise TypeError(f"{shown!r} is not an argument of a command")
    return shown
