"""What a measurement says: numbers side by side, the bar they must clear, a table and a JSON line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Bar:
    """What must hold.

    Attributes:
        limit: the value that is still good.
        on: "ratio" (how many times better we are) or "ours".
        at_most: smaller is better, and `limit` is the most.
    """

    limit: float
    on: str = "ratio"
    at_most: bool = False
    unit: str = ""

    def holds(self, ours: float, ratio: float | None) -> bool | None:
        """Whether it holds; None where there is nothing to compare with."""
        value = ours if self.on == "ours" else ratio
        if value is None:
            return None
        return value <= self.limit if self.at_most else value >= self.limit

    @property
    def text(self) -> str:
        """As it stands in the table."""
        sign = "≤" if self.at_most else "≥"
        return f"{sign} {number(self.limit)}{'x' if self.on == 'ratio' else ' ' + self.unit}"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        theirs: node-resque's number, or None.
        unit: of both numbers.
        smaller_is_better: a time, a size; the ratio is then theirs / ours.
        note: further facts, in few words.
    """

    what: str
    ours: float | None
    theirs: float | None = None
    unit: str = "/s"
    smaller_is_better: bool = False
    bar: Bar | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times better we are than node-resque."""
        if not self.ours or not self.theirs:
            return None
        return self.theirs / self.ours if self.smaller_is_better else self.ours / self.theirs

    @property
    def holds(self) -> bool | None:
        """Whether the bar is cleared; None where there is none, or nothing was measured."""
        if self.bar is None or self.ours is None:
            return None
        return self.bar.holds(self.ours, self.ratio)

    def to_dict(self) -> dict[str, Any]:
        """For the JSON line."""
        return {
            **asdict(self),
            "bar": self.bar.text if self.bar else None,
            "ratio": self.ratio,
            "holds": self.holds,
        }


@dataclass
class Section:
    """What one measurement brought.

    Attributes:
        text: what is printed below its rows as it is: a profile, a curve.
    """

    name: str
    rows: list[Row] = field(default_factory=list)
    text: str = ""
    seconds: float = 0.0
    failed: bool = False

    @property
    def fine(self) -> bool:
        """Whether it was measured and no bar was missed."""
        return not self.failed and all(row.holds is not False for row in self.rows)


HEADINGS = ("measurement", "ours", "node-resque", "ratio", "bar", "holds", "")


def table(sections: Iterable[Section]) -> str:
    """All rows under headings, in columns as wide as they must be."""
    cells = [HEADINGS, *(cells_of(row) for section in sections for row in section.rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADINGS))]
    lines = [_line(line, widths) for line in cells]
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join(lines)


def _line(line: Sequence[str], widths: Sequence[int]) -> str:
    texts = [
        text.rjust(width) if 0 < column < 4 else text.ljust(width)
        for column, (text, width) in enumerate(zip(line, widths, strict=True))
    ]
    return "  ".join(texts).rstrip()


def cells_of(row: Row) -> tuple[str, ...]:
    """A row as texts."""
    said = {True: "yes", False: "NO", None: ""}[row.holds]
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}x"
    bar = row.bar.text if row.bar else ""
    return (row.what, _value(row.ours, row), _value(row.theirs, row), ratio, bar, said, row.note)


def _value(value: float | None, row: Row) -> str:
    return "" if value is None else f"{number(value)} {row.unit}"


def number(value: float) -> str:
    """With three significant digits, and thousands set apart."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that is not below `share` of all (nearest rank); 0.5 is the median.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no percentile of no values")
    ordered = sorted(values)
    rank = -(-len(ordered) * share // 1)  # rounded up
    return ordered[max(0, int(rank) - 1)]


def middle(values: Sequence[float]) -> float:
    """The median of repeated runs."""
    return float(median(values))
