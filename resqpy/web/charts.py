"""Charts as numbers: a template draws them as SVG, without a script, and beside each stands a table.

Only shapes are in the picture, which is stretched to the width there is; words stand beside it as text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log, log10

from resqpy.base.history import BOUNDS_MS
from resqpy.diagnosis import texts
from resqpy.diagnosis.history import Point, RunHistory
from resqpy.store.history import HistoryMark

HEIGHT = 100  # of the picture; it is as wide as it has points
_GAP = 0.12  # beside a bar
_SHADES = 5


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of one point.

    Attributes:
        kind: the class of its colour.
    """

    x: float
    y: float
    height: float
    kind: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart over a period.

    Attributes:
        top: what its upper edge stands for.
        words: what it shows, for who doesn't see it.
        hints: of each point, what is shown where somebody points at it.
        lines: each with the class of its colour, as the `d` of a path.
        legend: the class and name of each colour.
        bottom: what its lower edge stands for, where that is not zero.
    """

    title: str
    top: str
    words: str
    width: int
    bars: Sequence[Bar]
    lines: Sequence[tuple[str, str]]
    hints: Sequence[str]
    legend: Sequence[tuple[str, str]] = ()
    bottom: str = ""
    bar_width: float = 1 - 2 * _GAP


def span(ms: float | None) -> str:
    """A length of time in a few characters."""
    if ms is None:
        return "–"
    if ms == inf:
        return "> 6 h"
    if ms < 1000:
        return f"{ms:.0f} ms"
    if ms < 60_000:
        return f"{ms / 1000:.3g} s"
    return texts.duration(round(ms))


def waited(ms: float | None) -> str:
    """The same of a wait, which is known to a tenth of a second."""
    return "< 0.1 s" if ms is not None and ms < 100 else span(ms)


def _edge(most: float) -> float:
    """A round number that is not smaller."""
    if most <= 0:
        return 1
    power: float = 10.0 ** int(log10(most) // 1)
    return next(each * power for each in (1, 2, 3, 5, 10) if each * power >= most)


def _steps(values: Sequence[float | None], edge: float) -> str:
    """A line with a step for each value; where there is none, it is interrupted."""
    parts, drawing = [], False
    for at, value in enumerate(values):
        if value is None:
            drawing = False
            continue
        y = round(HEIGHT * (1 - min(value / edge, 1)), 2)
        parts.append(f"{'V' if drawing else f'M{at} '}{y}H{at + 1}")
        drawing = True
    return "".join(parts)


def runs(points: Sequence[Point], step: str) -> Chart:
    """How many ran, the failed ones below.

    Args:
        step: how long a point is, such as `a minute`.
    """
    edge = _edge(max(each.stats.runs for each in points))
    bars = []
    for at, each in enumerate(points):
        failed = HEIGHT * each.stats.failed / edge
        done = HEIGHT * (each.stats.runs - each.stats.failed) / edge
        for kind, below, height in (("bad", 0.0, failed), ("ok", failed, done)):
            if height:
                y = round(HEIGHT - below - height, 2)
                bars.append(Bar(at + _GAP, y, round(height, 2), kind))
    total, failed = (
        sum(getattr(each.stats, name) for each in points) for name in ("runs", "failed")
    )
    return Chart(
        f"Runs {step}", f"{edge:,.0f}", f"{total:,} runs, {failed:,} failed", len(points), bars, (),
        [f"{_at(each)}: {each.stats.runs:,} runs, {each.stats.failed:,} failed" for each in points],
        (("ok", "succeeded"), ("bad", "failed")),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Spread:
    """How many ran how long.

    Attributes:
        names: of the classes that have any, and of those between, the shortest first.
        rows: the numbers of each point.
    """

    first: int
    names: Sequence[str]
    rows: Sequence[tuple[Point, Sequence[int]]]

    @classmethod
    def of(cls, points: Sequence[Point]) -> Spread | None:
        """That of a period; None: nothing ran."""
        sums = [*map(sum, zip(*(each.stats.spread for each in points), strict=True))]
        used = [place for place, number in enumerate(sums) if number]
        if not used:
            return None
        first, last = used[0], used[-1] + 1
        names = [_class_name(place) for place in range(first, last)]
        return cls(first, names, [(each, each.stats.spread[first:last]) for each in points])

    def chart(self) -> Chart:
        """A column for each point and a row for each class; the darker a field is, the more ran."""
        fields: dict[int, list[str]] = {shade: [] for shade in range(1, _SHADES + 1)}
        most, high = max(max(row) for _, row in self.rows), HEIGHT / len(self.names)
        for at, (_, row) in enumerate(self.rows):
            for place, number in enumerate(row):
                if number:
                    y = round(HEIGHT - (place + 1) * high, 2)
                    fields[_shade(number, most)].append(f"M{at} {y}h1v{high:.2f}h-1z")
        likely = max(
            range(len(self.names)), key=lambda place: sum(row[place] for _, row in self.rows)
        )
        return Chart(
            "How long runs took", self.names[-1],
            f"most took {self.names[likely]}; the longest {self.names[-1]}, the shortest {self.names[0]}",
            len(self.rows), (), [(f"heat{shade}", "".join(each)) for shade, each in fields.items() if each],
            [self._hint(*each) for each in self.rows],
            (("heat1", "few"), (f"heat{_SHADES}", f"many (at most {most:,})")),
            bottom=self.names[0] if len(self.names) > 1 else "",
        )  # fmt: skip

    def _hint(self, point: Point, row: Sequence[int]) -> str:
        told = [
            f"{number:,} took {name}"
            for number, name in zip(row, self.names, strict=True)
            if number
        ]
        return f"{_at(point)}: {'; '.join(reversed(told)) or 'none ran'}"


def _class_name(place: int) -> str:
    if place == len(BOUNDS_MS):
        return f"> {_round(BOUNDS_MS[-1])}"
    return f"≤ {_round(BOUNDS_MS[place])}"


def _round(ms: int) -> str:
    """A bound: the only unit of each is its largest."""
    return span(ms) if ms < 60_000 else texts.duration(ms).replace(" 0 s", "").replace(" 0 m", "")


def _shade(number: int, most: int) -> int:
    """By the logarithm: one run among ten thousand is seen, too."""
    part = log(number) / log(most) if most > 1 else 1
    return min(1 + int(_SHADES * part), _SHADES)


def run_times(points: Sequence[Point]) -> Chart:
    """How long half of them, and nearly all of them, ran at most."""
    told = [each.stats.percentiles_ms for each in points]
    known = [ms for each in told for ms in each[:2] if ms is not None and ms != inf]
    edge = _edge(max(known, default=0))
    lines = [
        (kind, _steps([each[n] for each in told], edge)) for n, kind in ((1, "warn"), (0, "ok"))
    ]
    return Chart(
        "Run time", span(edge), f"p95 at most {span(max(known, default=None))}", len(points), (), lines,
        [
            f"{_at(p)}: p50 {span(each[0])}, p95 {span(each[1])}, p99 {span(each[2])}"
            for p, each in zip(points, told, strict=True)
        ],
        (("ok", "p50"), ("warn", "p95")),
    )  # fmt: skip


def waiting(points: Sequence[Point]) -> Chart:
    """How many waited at most."""
    lengths = [each.waiting for each in points]
    most = max((each for each in lengths if each is not None), default=0)
    edge = _edge(most)
    return Chart(
        "Waiting jobs", f"{edge:,.0f}", f"at most {most:,} waited", len(points), (),
        [("ok", _steps(lengths, edge))],
        [
            f"{_at(each)}: {each.waiting or 0:,} waited, the oldest for {span(each.oldest_ms)}"
            if each.waiting is not None
            else f"{_at(each)}: nobody has looked"
            for each in points
        ],
    )  # fmt: skip


def coming(counts: Sequence[int], first_s: int, step_s: int, step: str) -> Chart:
    """At how many seconds something is due.

    Args:
        step: how long a bar is, such as `a minute`.
    """
    edge = _edge(max(counts))
    bars = [
        Bar(at + _GAP, round(HEIGHT * (1 - count / edge), 2), round(HEIGHT * count / edge, 2), "ok")
        for at, count in enumerate(counts)
        if count
    ]
    hints = [f"{utc((first_s + n * step_s) * 1000)}: {each:,}" for n, each in enumerate(counts)]
    return Chart(
        f"Times with due jobs {step}", f"{edge:,.0f}", f"{sum(counts):,} in all", len(counts), bars, (), hints
    )  # fmt: skip


def _at(point: Point) -> str:
    return utc(point.at_ms)


def utc(at_ms: int) -> str:
    """A time without its year."""
    told = texts.iso(at_ms) or ""
    return f"{told[5:16].replace('T', ' ')} UTC"


def mark_places(found: RunHistory, point_ms: int) -> list[tuple[float, HistoryMark]]:
    """Where marks stand in a chart."""
    first_ms = found.points[0].at_ms
    return [(round((each.at_ms - first_ms) / point_ms, 2), each) for each in found.marks]


def ends(found: RunHistory, point_ms: int) -> list[str]:
    """What stands below a chart: when it begins, its middle, its end."""
    first_ms = found.points[0].at_ms
    half_ms = first_ms + point_ms * len(found.points) // 2
    days = point_ms * len(found.points) > 86_400_000
    shown = [(texts.iso(each) or "")[:16].replace("T", " ") for each in (first_ms, half_ms)]
    return [*(each[5:] if days else f"{each[11:]} UTC" for each in shown), "now"]
