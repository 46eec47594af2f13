"""Floats as Ruby writes them in JSON: jobs are found by their text, and there are two dialects.

`ruby4` is `Float#to_s`, which the json gem used up to 2.9; `ruby5` is the gem's own writer since
2.10 (named as in the wire document, after the client stacks that were recorded).
"""

from __future__ import annotations

from resqpy.base.js import decimal, respell


def spellings(text: str) -> tuple[str, ...]:
    """A JSON text of ours with its floats in both of Ruby's spellings."""
    if "." not in text and "e" not in text:
        return ()
    return (respell(text, ruby4), respell(text, ruby5))


def ruby4(value: float) -> str:
    """`1.0`, `1.0e+15`, `1.0e-05`."""
    sign, digits, point = decimal(value)
    if -4 < point <= 15:
        return sign + _fixed(digits, point)
    power = point - 1
    return f"{sign}{digits[0]}.{digits[1:] or '0'}e{'+' if power > 0 else '-'}{abs(power):02}"


def ruby5(value: float) -> str:
    """`1.0`, `1e+15`, `0.00001`, `1e-10`."""
    sign, digits, point = decimal(value)
    zeros, power = point - len(digits), point - 1
    if (zeros >= 0 and power < 15) or (zeros < 0 and (zeros > -7 or abs(power) < 10)):
        return sign + _fixed(digits, point)
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{'+' if power > 0 else '-'}{abs(power)}"


def _fixed(digits: str, point: int) -> str:
    if point <= 0:
        return f"0.{'0' * -point}{digits}"
    whole = digits[:point].ljust(point, "0")
    return f"{whole}.{digits[point:] or '0'}"
