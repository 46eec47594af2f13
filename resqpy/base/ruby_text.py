"""Texts as Ruby makes them of values: numbers in JSON, and the arguments in the names of its plugins' keys.

Compared with the real Ruby by `tests/interop/test_ruby_text.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from unicodedata import category

from resqpy.base.errors import InvalidJob
from resqpy.base.json_rules import decimal


def ruby4(value: float) -> str:
    """`1.0`, `1.0e+15`, `1000000000000000.5`, `1.0e-05`."""
    sign, digits, point = decimal(value)
    if -4 < point <= 15 or point == 16 < len(digits):
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


# -- arguments --


def ruby_joined(args: Sequence[Any], arrow: str | None = None) -> str:
    """`args.join("-")`.

    Args:
        arrow: as of `ruby_inspect`.

    Raises:
        InvalidJob: an object is among them, and how Ruby writes it is not known.
    """
    return "-".join(_joined(each, arrow) for each in args)


def _joined(value: Any, arrow: str | None) -> str:
    if isinstance(value, list | tuple):
        return ruby_joined(value, arrow)
    if isinstance(value, str):
        return value
    return "" if value is None else ruby_inspect(value, arrow)


def ruby_inspect(value: Any, arrow: str | None = None) -> str:
    """`value.inspect`, which is also `to_s` of a list and of an object.

    Texts are as Ruby shows them where its encoding is UTF-8; what is printable, by this Python's Unicode.

    Args:
        arrow: what stands between a name and its value in an object: `=>` up to Ruby 3.3, ` => ` since 3.4.

    Raises:
        InvalidJob: there is an object, and no arrow.
    """
    if isinstance(value, str):
        return f'"{_ESCAPED.sub(_escape, value)}"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(ruby_inspect(each, arrow) for each in value)}]"
    if isinstance(value, dict):
        if arrow is None:
            raise InvalidJob(
                "keys of Ruby's plugins can't be made of arguments with an object in them, whose text depends on "
                "the version of Ruby: give the plugin the option ruby_version"
            )
        pairs = (
            f"{ruby_inspect(name)}{arrow}{ruby_inspect(each, arrow)}"
            for name, each in value.items()
        )
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, bool) or value is None:
        return "nil" if value is None else str(value).lower()
    return ruby4(value) if isinstance(value, float) else str(value)


_NAMED = dict(zip('\a\b\t\n\v\f\r\x1b"\\', 'abtnvfre"\\', strict=True))
_ESCAPED = re.compile(r'["\\]|#(?=[{$@])|[^ -~]')


def _escape(found: re.Match[str]) -> str:
    char = found[0]
    if char == "#" or char in _NAMED:
        return "\\" + _NAMED.get(char, char)
    kind = category(char)
    if kind not in {"Cc", "Cn", "Zl", "Zp"} or char == "\x85":
        return char
    code = ord(char)
    return f"\\u{code:04X}" if code < 0x10000 else f"\\u{{{code:X}}}"
