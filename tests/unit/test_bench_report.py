"""The arithmetic of `bin/bench`'s report."""

from __future__ import annotations

import json

import pytest

from tests.benchmarks.report import Bar, Row, Section, number, percentile, table


def test_ratio_says_how_many_times_better_we_are() -> None:
    """More jobs a second and fewer milliseconds both make a ratio above one."""
    assert Row("rate", 300.0, 100.0).ratio == 3.0
    assert Row("time", 2.0, 10.0, "ms", smaller_is_better=True).ratio == 5.0


def test_without_their_number_there_is_no_ratio() -> None:
    """Where there is no Node, a bar on the ratio is neither held nor missed."""
    row = Row("rate", 300.0, None, bar=Bar(3.0))

    assert row.ratio is None
    assert row.holds is None


@pytest.mark.parametrize(
    ("row", "holds"),
    [
        (Row("at the bar", 300.0, 100.0, bar=Bar(3.0)), True),
        (Row("below it", 299.0, 100.0, bar=Bar(3.0)), False),
        (Row("ours alone", 2.0, None, "ms", bar=Bar(2.0, on="ours", at_most=True)), True),
        (Row("too late", 2.1, 5000.0, "ms", bar=Bar(2.0, on="ours", at_most=True)), False),
        (Row("none at all", 0.0, 2.0, "/s", bar=Bar(1.0, on="ours", at_most=True)), True),
        (Row("no bar", 1.0, 2.0), None),
    ],
    ids=lambda value: value.what if isinstance(value, Row) else None,
)
def test_bar_holds(row: Row, holds: bool | None) -> None:
    """A bar is cleared when the number is on it or on its good side."""
    assert row.holds is holds


def test_percentile_is_the_nearest_rank() -> None:
    """A percentile is one of the values, never one between them."""
    values = [float(value) for value in range(100, 0, -1)]

    assert [percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [
        1.0,
        50.0,
        99.0,
        100.0,
    ]
    assert percentile([7.0], 0.99) == 7.0
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (34_792.4, "34,792"), (0.9378, "0.938"), (16.85, "16.9")]
)
def test_number(value: float, text: str) -> None:
    """A number has three digits that matter."""
    assert number(value) == text


def test_table_shows_a_missed_bar() -> None:
    """A missed bar stands out in the table, and each row is as JSON what it is in the table."""
    row = Row("drain", 200.0, 100.0, bar=Bar(3.0), note="slow")

    lines = table([Section("drain", [row])]).splitlines()

    assert lines[-1].split() == [
        "drain",
        "200",
        "/s",
        "100",
        "/s",
        "2.00x",
        "≥",
        "3x",
        "NO",
        "slow",
    ]
    assert json.loads(json.dumps(row.to_dict()))["holds"] is False
