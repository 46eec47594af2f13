"""Numbers and objects as JavaScript prints them."""

from __future__ import annotations

from typing import Any

import pytest

from resqpy.base import json_rules


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (-0.0, "0"), (1.0, "1"), (-1.5, "-1.5"), (100.0, "100"), (0.1, "0.1"),
        (123456789.12345679, "123456789.12345679"), (1e20, "100000000000000000000"),
        (1e21, "1e+21"), (-1e21, "-1e+21"), (1.5e300, "1.5e+300"), (1e-6, "0.000001"),
        (1e-7, "1e-7"), (1.25e-7, "1.25e-7"), (5e-324, "5e-324"), (2**53, "9007199254740992"),
        (2**53 + 1, "9007199254740992"), (2**63, "9223372036854776000"), (10**30, "1e+30"),
        (1.7976931348623157e308, "1.7976931348623157e+308"), (10**400, "null"),
        (float("nan"), "null"), (float("inf"), "null"), (0.000001234, "0.000001234"),
        (123456789012345680000.0, "123456789012345680000"), (4.35, "4.35"), (1 / 3, "0.3333333333333333"),
    ],
)  # fmt: skip
def test_numbers(value: float, text: str) -> None:
    """ECMA-262, Number::toString."""
    assert json_rules.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": 2, "2": 3, "1": 4, "10": 5}, '{"1":4,"2":3,"10":5,"b":1,"a":2}'),
        ({"01": 1, "-1": 2, "1.0": 3, "0": 4, "²": 5}, '{"0":4,"01":1,"-1":2,"1.0":3,"²":5}'),
        ({str(2**32 - 1): 1, str(2**32 - 2): 2}, '{"4294967294":2,"4294967295":1}'),
        ({"9" * 5000: 1, "b": 2, "1": 3}, f'{{"1":3,"{"9" * 5000}":1,"b":2}}'),
        ([None, True, False, "é\u2028", []], '[null,true,false,"é\u2028",[]]'),
        ((1.0, {"": {}}), '[1,{"":{}}]'),
    ],
)
def test_objects_and_lists(value: Any, text: str) -> None:
    """Keys that are array indices come first, by number."""
    assert json_rules.stringify(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), ("a b", "a b"), (1.0, "1"), (True, "true"), ({"a": [1]}, '{"a":[1]}')],
)
def test_texts(value: Any, text: str) -> None:
    """As node-resque joins them for the keys of Retry."""
    assert json_rules.text_of(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2**53, "9007199254740992"), (2**53 + 1, "9007199254740992"), (-(2**53) - 1, "-9007199254740992"),
        (-0.0, "0"), (0, "0"), (1e15, "1000000000000000"), (1e16, "10000000000000000"),
        (9007199254740993.0, "9007199254740992"), (0.0001, "0.0001"), (0.00001, "0.00001"), (-17.50, "-17.5"),
    ],
)  # fmt: skip
def test_where_the_quick_ways_end(value: float, text: str) -> None:
    """Whole numbers that a double has exactly, and floats that Python writes without an exponent."""
    assert json_rules.number(value) == text
    assert json_rules.stringify([value]) == f"[{text}]"
