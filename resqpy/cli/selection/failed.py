"""Which failed jobs a command selects, by id or by filters, and what it does to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from resqpy.base import codec, job_records
from resqpy.base.imports import near_match
from resqpy.base.model import FailedJob
from resqpy.cli.arguments.session import ask_with_tasks
from resqpy.cli.output import printing as output
from resqpy.cli.output.printing import Exit
from resqpy.cli.selection.changing import BulkChange
from resqpy.diagnosis import texts
from resqpy.engine.inspect.inspector import Resque
from resqpy.store.sweep import every

Function = Callable[..., Any]

_LOOKED_AT, _PAGE = 1000, 500  # entries, to name the nearest


@dataclass(frozen=True)
class Filters:
    """Filters for failed jobs; empty: any."""

    class_name: tuple[str, ...]
    exception: tuple[str, ...]
    queue: tuple[str, ...]
    older_than: int | None = None
    only_retried: bool = False

    @property
    def keywords(self) -> dict[str, Any]:
        """As the `Inspector` expects them."""
        return {
            n: list(v) or None if isinstance(v, tuple) else v for n, v in vars(self).items() if v
        }

    def __bool__(self) -> bool:
        return any(vars(self).values())


class FailedChoice:
    """The failed jobs that a command selects.

    Args:
        again: include those that Ruby has retried already and left in the list; ids select any.
    """

    def __init__(
        self, ids: Sequence[str], filters: Filters, *, all_of_them: bool, again: bool = True
    ) -> None:
        if bool(ids) + bool(filters) + all_of_them != 1:
            raise click.UsageError(
                "specify ids (see `resqpy failed list`), or --class, --exception or --queue (to remove, also "
                "--older-than or --retried), or --all"
            )
        self.ids = ids
        self.filters = filters
        self.again = again

    async def count(self, resque: Resque) -> tuple[int, int]:
        """How many there are, and how many more that Ruby has retried."""
        if self.ids:
            return len(await by_ids(resque, self.ids)), 0
        if self.again and not self.filters:
            return await resque.failed_count(), 0
        entries = resque.each_failed(**self.filters.keywords)
        left = [not self.again and each.retried_at is not None async for each in entries]
        return left.count(False), left.count(True)


def carry_out(
    choice: FailedChoice,
    done: str,
    one: Function,
    many: Function,
    *,
    dry_run: bool,
    question: str,
    why_less: str = "were gone meanwhile",
    rate: float | None = None,
) -> int:
    """Count them, ask, and act; returns the exit code.

    Args:
        one, many: act on an entry, and on all that are selected.
        question: "Remove"; "": nothing is asked.
        rate: per second; None: unlimited.
    """

    async def act(resque: Resque, _: Any) -> int:
        if choice.ids:
            return sum([await one(resque, entry) for entry in await by_ids(resque, choice.ids)])
        return int(await many(resque))

    found, left = ask_with_tasks(lambda resque, _: choice.count(resque))
    time = f", in {texts.duration(found / rate * 1000)}" if rate else ""
    asked = (lambda jobs: f"{question} {jobs}{time}?") if question else None
    what = BulkChange("failed job", done, asked, why_less)
    number = what.carry_out(found, lambda: ask_with_tasks(act), dry_run=dry_run)
    more, end = time if dry_run else "", ""
    if left:
        more += f"; left: {left} that Ruby has retried already (see --retried)"
    nothing = bool(choice.filters) and not found
    if nothing and not left:
        end = ask_with_tasks(lambda resque, _: _nearest(resque, choice.filters))
    result = {"left": left} if left else {}
    code = what.tell(found, number, result, dry_run=dry_run, more=(more, end))
    return Exit.NO if nothing else code


async def _nearest(resque: Resque, filters: Filters) -> str:
    """What the first entries have instead, for the filter that matches none of them."""
    entries = [entry async for entry in _first(resque)]
    if not entries:
        return ": there are no failed jobs"
    for what in ("class_name", "exception", "queue"):
        wanted = getattr(filters, what)
        names = {str(getattr(entry, what)) for entry in entries} - {"None"}
        if wanted and not names & set(wanted):
            words = what.removesuffix("_name")
            return f": none has the {words} {wanted[0]!r}{near_match(wanted[0], names)}"
    return ": none matches all filters"


async def _first(resque: Resque) -> AsyncIterator[FailedJob]:
    at = 0
    while at < _LOOKED_AT and (page := await resque.failed(at, at + _PAGE - 1)):
        for entry in page:
            yield entry
        at += _PAGE


async def by_ids(inspector: Resque, ids: Sequence[str]) -> list[FailedJob]:
    """The entries whose ids have these prefixes.

    Raises:
        click.ClickException: there is none, or there are several.
    """
    found: dict[str, dict[str, FailedJob]] = {each.lower(): {} for each in ids}
    async for name, raw in _entries(inspector):
        digest = codec.digest(raw)
        for wanted, matches in found.items():
            if digest.startswith(wanted):
                matches[digest] = job_records.decode_failed(raw, name)
    for wanted, matches in found.items():
        if len(matches) != 1:
            what = "no failed job has" if not matches else f"{len(matches)} failed jobs have"
            raise output.fail(Exit.NOT_FOUND, f"{what} an id that begins with {wanted!r}")
    return [entry for matches in found.values() for entry in matches.values()]


async def _entries(inspector: Resque) -> AsyncIterator[tuple[str, bytes]]:
    """The bytes of all failed entries, with their list."""
    for name in await inspector.failed_lists():
        async for raw in every(inspector.store, inspector.store.keys.failed_list(name)):
            yield name, raw
