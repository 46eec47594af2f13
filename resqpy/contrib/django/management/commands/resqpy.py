"""`manage.py resqpy …`: the command line of resqpy, with Django set up."""

from __future__ import annotations

import sys
from argparse import REMAINDER
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand

from resqpy.base.imports import import_dotted

_OF_DJANGO = ("--settings", "--pythonpath")  # manage.py has followed them


class DjangoCommand(BaseCommand):  # type: ignore[misc]  # Django has no types
    """All that `resqpy` can do: `manage.py resqpy worker`."""

    help = "The command line of resqpy: worker, scheduler, doctor, failed, …"

    def run_from_argv(self, argv: Sequence[str]) -> None:
        """Let resqpy read the rest of the command line."""
        sys.exit(import_dotted("resqpy.cli.main:run")(without_ours(argv[2:])))

    def add_arguments(self, parser: Any) -> None:
        """Whatever resqpy takes."""
        parser.add_argument("args", nargs=REMAINDER)

    def handle(self, *args: Any, **_: Any) -> None:
        """For `call_command("resqpy", "queues")`."""
        code = import_dotted("resqpy.cli.main:run")([*map(str, args)])
        if code:
            sys.exit(code)


def without_ours(words: Sequence[str]) -> list[str]:
    """The words without the options of Django's own commands."""
    kept, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word in _OF_DJANGO:
            skip = True
        elif not word.startswith(tuple(f"{each}=" for each in _OF_DJANGO)):
            kept.append(word)
    return kept


Command = DjangoCommand  # the name by which Django finds it
