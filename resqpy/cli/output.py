"""What commands print: tables for people, JSON for programs; questions on a terminal only."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

from resqpy.cli.exits import Exit
from resqpy.cli.settings import current

_GAP = "  "


def wants_json() -> bool:
    """Whether `--json` was given."""
    return current().json


def json(value: Any) -> None:
    """Print a value as JSON; of a list, an element a line."""
    if isinstance(value, list) and value:
        lines = ",\n".join(f"  {_json(each)}" for each in value)
        click.echo(f"[\n{lines}\n]")
    else:
        click.echo(_json(value))


def _json(value: Any) -> str:
    from resqpy.base.codec import encode_text

    return encode_text(_plain(value)).decode("utf-8", "surrogateescape")


def _plain(value: Any) -> Any:
    """A value that JSON has; what it has not is shown as text."""
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(each) for each in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    return str(value)


def show(value: Any, for_people: Callable[[], None]) -> None:
    """Print JSON where it is wanted, else call what prints for people."""
    if wants_json():
        json(value)
    else:
        for_people()


def table(
    heads: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str, right: Sequence[str] = ()
) -> None:
    """Print a table; the last column is cut where the terminal ends.

    Args:
        empty: what is said where there are no rows.
        right: columns that stand at the right: numbers.
    """
    cells = [[text(cell) for cell in row] for row in rows]
    if not cells:
        click.echo(empty)
        return
    head, *body = lines(heads, [heads, *cells], right=right, columns=_columns())
    click.echo(click.style(head, bold=True))
    for line in body:
        click.echo(line)


def lines(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[str] = (),
    columns: int = 10_000,
) -> list[str]:
    """Rows of cells as lines of a table, of which the last column is cut where the terminal ends."""
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
    """How many columns of a terminal a text takes: signs of East Asia and emoji take two."""
    if shown.isascii():
        return len(shown)
    return sum(_sign_columns(sign) for sign in shown)


def _sign_columns(sign: str) -> int:
    if unicodedata.combining(sign):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def cut(shown: str, width: int) -> str:
    """A text that fits into so many columns."""
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
    """A value as a cell: one line that can be printed, whatever somebody wrote."""
    if value is None:
        return "-"
    shown = value if isinstance(value, str) else str(value)
    clean = shown.encode("utf-8", "backslashreplace").decode()
    return "".join(char if char.isprintable() else _escaped(char) for char in clean)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


def compact(value: Any) -> str:
    """Arguments and the like as one line of JSON."""
    return _json(value)


def properties(rows: Mapping[str, Any]) -> None:
    """Print names and values."""
    width = max(map(len, rows))
    for name, value in rows.items():
        click.echo(f"{click.style(name.ljust(width), bold=True)}{_GAP}{text(value)}")


def note(words: str) -> None:
    """Say something beside the result, so not where programs read."""
    click.echo(words, err=True)


def warn(words: str) -> None:
    """Say what may be a trouble."""
    click.echo(f"{click.style('warning:', fg='yellow')} {words}", err=True)


def fail(code: Exit, words: str) -> click.ClickException:
    """An error to be raised: one line and an exit code."""
    return Failure(words, code)


class Failure(click.ClickException):
    """An error of one line."""

    def __init__(self, words: str, code: int) -> None:
        super().__init__(words)
        self.code = code

    def show(self, file: Any = None) -> None:
        click.echo(f"{click.style('resqpy:', fg='red')} {self.message}", err=True, file=file)


def confirm(question: str) -> None:
    """Ask before something is destroyed; off a terminal `--yes` is needed.

    Raises:
        click.ClickException: the answer is no, or nobody is there to be asked.
    """
    if current().yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        command = click.get_current_context().command
        can_try = any(param.name == "dry_run" for param in command.params)
        hint = "say --yes (or --dry-run)" if can_try else "say --yes"
        raise fail(Exit.USAGE, f"{question} Nobody can be asked here: {hint}")
    if not click.confirm(question, err=True):
        raise fail(Exit.NO, "nothing was done")


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 job`, `2 jobs`, `10,000 jobs`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
