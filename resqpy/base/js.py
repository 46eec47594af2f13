"""JavaScript's JSON text: lock keys are compared by it (ECMA-262, `Number::toString` and `JSON.stringify`)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

_quote = json.JSONEncoder(ensure_ascii=False).encode


_EXACT = 2**53  # up to here a whole number is the same as a double
_POSITIONAL = re.compile(r"-?\d+\.\d+").fullmatch


def number(value: float) -> str:
    """A number as JavaScript's `String(value)` formats it: `1` for 1.0, `1e+21`, `1e-7`."""
    text = repr(value)
    if type(value) is int and -_EXACT <= value <= _EXACT:
        return text
    if type(value) is float and value and _POSITIONAL(text):  # both print the shortest digits
        return text.removesuffix(".0")
    return _as_double(value)


def _as_double(value: float) -> str:
    try:
        as_double = float(value)
    except OverflowError:
        return "null"
    if as_double != as_double or as_double in (float("inf"), float("-inf")):
        return "null"
    if as_double == 0:
        return "0"
    sign, digits, point = decimal(as_double)
    return sign + _place(digits, point)


def decimal(value: float) -> tuple[str, str, int]:
    """The shortest decimal form of a finite number: sign, digits, point; the value is 0.digits * 10**point."""
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    point = len(digits) + int(exponent) if value else 1
    return "-" if sign else "", "".join(map(str, digits)), point


def _place(digits: str, point: int) -> str:
    count = len(digits)
    if count <= point <= 21:
        return digits + "0" * (point - count)
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"0.{'0' * -point}{digits}"
    power = point - 1
    mantissa = digits if count == 1 else f"{digits[0]}.{digits[1:]}"
    return f"{mantissa}e{'+' if power > 0 else '-'}{abs(power)}"


_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?')


def respell(text: str, spell: Callable[[float], str]) -> str:
    """A JSON text with its floats (numbers with a point or an exponent) spelled differently."""

    def respelled(match: re.Match[str]) -> str:
        token = match.group()
        is_float = token[0] != '"' and not token.lstrip("-").isdigit()
        return spell(float(token)) if is_float else token

    return _TOKEN.sub(respelled, text)


def small_floats(text: str) -> str:
    """A JSON text by Python with `1e-05` and `1e-07` spelled as in JavaScript: `0.00001`, `1e-7`.

    They stay floats in every language. (`1.0` and `1e+16` would not, so they keep their spelling.)
    """
    if "e-0" not in text:
        return text
    return respell(text, lambda value: number(value) if 0 < abs(value) < 1e-4 else repr(value))


def stringify(value: Any) -> str:
    """What `JSON.stringify(JSON.parse(text))` returns for a value that Python parsed from that text."""
    if isinstance(value, str):
        return _quote(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        return number(value)
    if isinstance(value, dict):
        pairs = [f"{_quote(key)}:{stringify(value[key])}" for key in _key_order(value)]
        return "{" + ",".join(pairs) + "}"
    return "[" + ",".join([stringify(each) for each in value]) + "]"


def _key_order(value: dict[str, Any]) -> list[str]:
    """Integer-like keys first, in numeric order; then the others in the order written."""
    indices = [key for key in value if _is_index(key)]
    if not indices:
        return list(value)
    return sorted(indices, key=int) + [key for key in value if not _is_index(key)]


def _is_index(key: str) -> bool:
    return key.isascii() and key.isdigit() and str(int(key)) == key and int(key) < 2**32 - 1


def text_of(value: Any) -> str:
    """A value as it appears in node-resque's Retry keys: texts unchanged, the rest as JSON."""
    if isinstance(value, str):
        return value
    return stringify(value)
