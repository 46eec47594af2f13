"""Floats as both of Ruby's JSON writers print them."""

from __future__ import annotations

import pytest

from resqpy.base.codec import float_spellings
from resqpy.base.ruby_text import ruby4, ruby5


@pytest.mark.parametrize(
    ("value", "old", "new"),
    [
        (0.0, "0.0", "0.0"), (-0.0, "-0.0", "-0.0"), (1.0, "1.0", "1.0"), (-2.5, "-2.5", "-2.5"),
        (1e14, "100000000000000.0", "100000000000000.0"), (1e15, "1.0e+15", "1e+15"),
        (123456789012345.0, "123456789012345.0", "123456789012345.0"),
        (1234567890123456.0, "1.234567890123456e+15", "1.234567890123456e+15"),
        (2236080524765220.5, "2236080524765220.5", "2236080524765220.5"),
        (9007199254740992.0, "9.007199254740992e+15", "9.007199254740992e+15"),
        (1e-4, "0.0001", "0.0001"), (1.5e-4, "0.00015", "0.00015"), (1e-5, "1.0e-05", "0.00001"),
        (1.25e-5, "1.25e-05", "0.0000125"), (-2.5e-7, "-2.5e-07", "-0.00000025"),
        (1e-9, "1.0e-09", "0.000000001"), (1e-10, "1.0e-10", "1e-10"), (5e-324, "5.0e-324", "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308", "1.7976931348623157e+308"),
        (0.1, "0.1", "0.1"), (123456789.12345679, "123456789.12345679", "123456789.12345679"),
    ],
)  # fmt: skip
def test_floats(value: float, old: str, new: str) -> None:
    """`Float#to_s`, and the json gem's own writer since 2.10."""
    assert (ruby4(value), ruby5(value)) == (old, new)


def test_only_floats_are_respelled() -> None:
    """Integers, texts and what looks like a number in a text stay."""
    text = '[1,18446744073709551616,"1e-05 \\" 1e16",{"1e-05":1e-05,"a":1e+16}]'
    assert float_spellings(text) == (
        '[1,18446744073709551616,"1e-05 \\" 1e16",{"1e-05":1.0e-05,"a":1.0e+16}]',
        '[1,18446744073709551616,"1e-05 \\" 1e16",{"1e-05":0.00001,"a":1e+16}]',
    )
    assert float_spellings('[1,"a"]') == ()
