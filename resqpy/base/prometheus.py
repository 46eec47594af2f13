"""Metrics in the Prometheus text format, version 0.0.4.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/ ("Text-based format"), and
https://prometheus.io/docs/practices/naming/ for the names (base units, `_total` for counters).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Kind = Literal["counter", "gauge", "histogram"]
Labels = Mapping[str, str]


class Histogram:
    """Distribution of values.

    Args:
        bounds: the upper ends of the buckets, ascending; a value equal to one belongs to it.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds: Sequence[float] = bounds
        self.counts: list[int] = [0] * (len(bounds) + 1)
        self.total: float = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


@dataclass(frozen=True, slots=True)
class Metric:
    """All samples under one name.

    Attributes:
        values: by labels; `Histogram`s for a histogram.
    """

    name: str
    kind: Kind
    help: str
    values: list[tuple[Labels, float | Histogram]] = field(default_factory=list)

    def add(self, value: float | Histogram, **labels: str) -> None:
        """Add a sample with its labels."""
        self.values.append((labels, value))


def metric(name: str, kind: Kind, words: str, value: float | Histogram) -> Metric:
    """A metric with one value and no labels."""
    return Metric(name, kind, words, [({}, value)])


def render(metrics: Sequence[Metric]) -> bytes:
    """The text; metrics without values are left out."""
    lines: list[str] = []
    for each in metrics:
        if each.values:
            lines += _lines(each)
    return "".join(f"{line}\n" for line in lines).encode()


def _lines(metric: Metric) -> list[str]:
    lines = [f"# HELP {metric.name} {_escaped(metric.help)}", f"# TYPE {metric.name} {metric.kind}"]
    for labels, value in metric.values:
        if isinstance(value, Histogram):
            lines += _buckets(metric.name, labels, value)
        else:
            lines.append(_line(metric.name, labels, value))
    return lines


def _buckets(name: str, labels: Labels, histogram: Histogram) -> list[str]:
    lines, count = [], 0
    for bound, number in zip((*histogram.bounds, None), histogram.counts, strict=True):
        count += number
        end = "+Inf" if bound is None else f"{bound:g}"
        lines.append(_line(f"{name}_bucket", {**labels, "le": end}, count))
    total = _line(f"{name}_sum", labels, histogram.total)
    return [*lines, total, _line(f"{name}_count", labels, count)]


def _line(name: str, labels: Labels, value: float) -> str:
    pairs = ",".join(f'{key}="{_quoted(text)}"' for key, text in labels.items())
    return f"{name}{{{pairs}}} {value!r}" if pairs else f"{name} {value!r}"


def _escaped(text: str) -> str:
    """Names in Redis may be any bytes; what is not UTF-8 is shown by its number."""
    shown = text.encode("utf-8", "backslashreplace").decode()
    return shown.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', r"\"")
