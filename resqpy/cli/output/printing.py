"""Output of commands: tables for people, JSON for programs; prompts on a terminal only.

All output goes through here, where secrets are hidden and foreign text is made safe for a terminal.
"""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from resqpy.base.errors import printable
from resqpy.base.masking import Redaction
from resqpy.cli.arguments.settings import Settings, current

# The exit codes of `resqpy` (docs/reference/cli.md).


class Exit(IntEnum):
    """An exit code."""

    OK = 0
    ERROR = 1  # anything else went wrong; a task that was run raised
    USAGE = 2  # an option or an argument is wrong
    PROJECT = 3  # the project's files or settings are wrong
    REDIS = 4  # Redis can't be reached, or can't be used
    NOT_FOUND = 5  # no such task, queue, job, worker, lock
    NO = 6  # the answer is no: not healthy, problems found, forbidden by a plugin
    RUNNING = 7  # such a process is already running
    INTERRUPTED = 130  # Ctrl-C


def code_of(error: BaseException) -> Exit:
    """The exit code for an error."""
    from resqpy.base import errors  # imported here, because `resqpy --help` needs none of it
    from resqpy.tracked.errors import TaskRefused

    table: tuple[tuple[type[BaseException], Exit], ...] = (
        (errors.LoadFailed, Exit.PROJECT),
        (errors.ConfigError, Exit.PROJECT),
        (errors.ImportFailed, Exit.PROJECT),
        (errors.StoreError, Exit.REDIS),
        (errors.EmbeddedRedisError, Exit.REDIS),
        (errors.UnknownTask, Exit.NOT_FOUND),
        (errors.NotInFailed, Exit.NOT_FOUND),
        (TaskRefused, Exit.NO),
        (errors.UsageError, Exit.USAGE),
        (KeyboardInterrupt, Exit.INTERRUPTED),
    )
    return next((code for kind, code in table if isinstance(error, kind)), Exit.ERROR)


T = TypeVar("T")

_GAP = "  "


class Painted(str):
    """A text with colours, already safe to print."""

    __slots__ = ()


def paint(words: Any, **style: Any) -> Painted:
    """A text with a colour, or bold."""
    return Painted(click.style(text(words), **style))


def joined(*parts: str) -> Painted:
    """Parts as one line; those that are not painted are made safe."""
    return Painted("".join(each if isinstance(each, Painted) else text(each) for each in parts))


def say(*parts: str, err: bool = False) -> None:
    """Print a line."""
    click.echo(joined(*parts), err=err)


def say_block(words: str) -> None:
    """Print several lines that were made here, without unprintable characters."""
    click.echo(fit(words), nl=False)


def trouble(words: str, settings: Settings | None = None) -> None:
    """Report an error on standard error; it may have several lines."""
    click.echo(f"{paint('resqpy:', fg='red')} {fit(words, settings)}", err=True)


def redraw(words: str) -> None:
    """Replace a line of standard error."""
    click.echo(f"\r{text(words)}\x1b[K", err=True, nl=False)


def fit(words: str, settings: Settings | None = None) -> str:
    """Lines made safe to print."""
    rule = redaction() if settings is None else settings.redaction
    return printable(rule.text(words), "\n\t")


_DEFAULT = Redaction()


def redaction() -> Redaction:
    """Hides secrets; with the project's settings once its config is loaded."""
    context = click.get_current_context(silent=True)
    settings = context.find_object(Settings) if context is not None else None
    return _DEFAULT if settings is None else settings.redaction


def wants_json() -> bool:
    """Whether `--json` was given."""
    return current().json


def json(value: Any) -> None:
    """Print a value as JSON; a list with one element per line."""
    if isinstance(value, list) and value:
        lines = ",\n".join(f"  {compact(each)}" for each in value)
        click.echo(f"[\n{lines}\n]")
    else:
        click.echo(compact(value))


def compact(value: Any) -> str:
    """Arguments and the like as one line of JSON, with secrets hidden."""
    from resqpy.diagnosis.texts import compact

    return compact(value, redaction())


def show(value: Any, for_people: Callable[[], None]) -> None:
    """Print JSON if requested, else call the function that prints for people."""
    if wants_json():
        json(value)
    else:
        for_people()


def listing(
    found: Sequence[T],
    as_json: Callable[[T], Any],
    heads: Sequence[str],
    cells: Callable[[T], Sequence[Any]],
    *,
    empty: str,
    right: Sequence[str] = (),
) -> None:
    """Print items, each as JSON or as a row of a table; see `table`."""
    show(
        [as_json(each) for each in found],
        lambda: table(heads, [cells(each) for each in found], empty=empty, right=right),
    )


def table(
    heads: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str, right: Sequence[str] = ()
) -> None:
    """Print a table; the last column is cut at the width of the terminal.

    Args:
        empty: printed if there are no rows.
        right: right-aligned columns: numbers.
    """
    cells = [[text(cell) for cell in row] for row in rows]
    if not cells:
        say(empty)
        return
    head, *body = lines(heads, [heads, *cells], right=right, columns=_columns())
    say(paint(head, bold=True))
    for line in body:
        say(line)


def lines(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[str] = (),
    columns: int = 10_000,
) -> list[str]:
    """Rows of cells as lines of a table, with the last column cut at the width of the terminal."""
    if not rows:
        return []
    widths = [max(columns_of(row[n]) for row in rows) for n in range(len(heads))]
    widths[-1] = min(widths[-1], max(10, columns - sum(widths[:-1]) - 2 * (len(widths) - 1)))
    return [_line(row, widths, heads, right) for row in rows]


def _line(
    row: Sequence[str], widths: Sequence[int], heads: Sequence[str], right: Sequence[str]
) -> str:
    parts = []
    for cell, width, head in zip(row, widths, heads, strict=True):
        shown = cut(cell, width)
        blanks = " " * (width - columns_of(shown))
        parts.append(blanks + shown if head in right else shown + blanks)
    return _GAP.join(parts).rstrip()


def columns_of(shown: str) -> int:
    """How many columns of a terminal a text occupies: East Asian characters and emoji take two."""
    if shown.isascii():
        return len(shown)
    return sum(_sign_columns(sign) for sign in shown)


def _sign_columns(sign: str) -> int:
    if unicodedata.combining(sign):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def cut(shown: str, width: int) -> str:
    """A text cut to this many columns."""
    if columns_of(shown) <= width:
        return shown
    left, kept = width - 1, []
    for sign in shown:
        left -= _sign_columns(sign)
        if left < 0:
            break
        kept.append(sign)
    return "".join(kept) + "…"


def _columns() -> int:
    return shutil.get_terminal_size((160, 24)).columns if sys.stdout.isatty() else 10_000


def text(value: Any) -> str:
    """A value as a cell: one printable line, whatever somebody wrote."""
    if value is None:
        return "-"
    return printable(redaction().text(value if isinstance(value, str) else str(value)))


def properties(rows: Mapping[str, Any]) -> None:
    """Print names and values."""
    width = max(map(len, rows))
    for name, value in rows.items():
        say(paint(name.ljust(width), bold=True), _GAP, text(value))


def note(words: str) -> None:
    """Print a remark on standard error, so that it is not part of the result."""
    click.echo(fit(words), err=True)


def note_place(remedies: Iterable[str]) -> None:
    """Say that the suggested commands need the same location flags as this one."""
    ctx = click.get_current_context()
    flags = [
        each.opts[0]
        for each in ctx.command.params
        if each.opts[0] in {"--redis", "--namespace", "--root", "--env"}
        and ctx.get_parameter_source(each.name or "") is ParameterSource.COMMANDLINE
    ]
    if flags and any("resqpy " in each for each in remedies):
        note(f"(run the suggested commands with the same {', '.join(flags)})")


def warn(words: str) -> None:
    """Print a warning."""
    click.echo(f"{paint('warning:', fg='yellow')} {fit(words)}", err=True)


def fail(code: Exit, words: str) -> click.ClickException:
    """An exception that ends the command with one line and an exit code."""
    return Failure(words, code)


class Failure(click.ClickException):
    """An error with a one-line message."""

    def __init__(self, words: str, code: int) -> None:
        super().__init__(words)
        self.code = code

    def show(self, file: Any = None) -> None:
        trouble(self.message)


def confirm(question: str) -> None:
    """Ask before something is destroyed; without a terminal `--yes` is required.

    Raises:
        click.ClickException: the answer is no, or nobody can be asked.
    """
    if current().yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        command = click.get_current_context().command
        can_try = any(param.name == "dry_run" for param in command.params)
        hint = "use --yes (or --dry-run)" if can_try else "use --yes"
        raise fail(Exit.USAGE, f"{question} There is no terminal to ask on: {hint}")
    if not click.confirm(fit(question), err=True):
        raise fail(Exit.NO, "nothing was done")
