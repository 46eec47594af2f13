"""JavaScript's JSON text: lock keys are compared by it (ECMA-262, `Number::toString` and `JSON.stringify`)."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

_quote = json.JSONEncoder(ensure_ascii=False).encode


def number(value: float) -> str:
    """A number as `String(value)` gives it in JavaScript: `1` for 1.0, `1e+21`, `1e-7`."""
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
    """The shortest decimal of a finite number: sign, digits, point; it is 0.digits * 10**point."""
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


def stringify(value: Any) -> str:
    """What `JSON.stringify(JSON.parse(text))` makes of a value that Python read from that text."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, (int, float)):
        return number(value)
    if isinstance(value, dict):
        pairs = (f"{_quote(key)}:{stringify(value[key])}" for key in _key_order(value))
        return "{" + ",".join(pairs) + "}"
    return "[" + ",".join(map(stringify, value)) + "]"


def _key_order(value: dict[str, Any]) -> list[str]:
    """Integer-like keys come first, by number; then the others as they were written."""
    indices = [key for key in value if _is_index(key)]
    if not indices:
        return list(value)
    return sorted(indices, key=int) + [key for key in value if not _is_index(key)]


def _is_index(key: str) -> bool:
    return key.isascii() and key.isdigit() and str(int(key)) == key and int(key) < 2**32 - 1


def text_of(value: Any) -> str:
    """A value as it stands in node-resque's Retry keys: texts as they are, the rest as JSON."""
    if isinstance(value, str):
        return value
    return stringify(value)
