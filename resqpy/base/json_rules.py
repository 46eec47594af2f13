"""JSON as foreign readers need it: JavaScript's numbers, what may be written, the exact text of one member."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any

from resqpy.base.when import whole_number

# JavaScript's JSON text: lock keys are compared by it (ECMA-262, `Number::toString` and `JSON.stringify`).

_quote: Callable[[str], str] = json.encoder.encode_basestring


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
    if isinstance(value, int) and not isinstance(value, bool):
        return repr(value) if type(value) is int and -_EXACT <= value <= _EXACT else number(value)
    if isinstance(value, dict):
        return f"{{{','.join([f'{_quote(key)}:{stringify(value[key])}' for key in _key_order(value)])}}}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return number(value)
    return f"[{','.join([stringify(each) for each in value])}]"


def _key_order(value: dict[str, Any]) -> Iterable[str]:
    """Integer-like keys first, in numeric order; then the others in the order written."""
    indices = [key for key in value if key[:1].isdigit() and _is_index(key)]
    if not indices:
        return value
    return sorted(indices, key=int) + [key for key in value if not _is_index(key)]


def _is_index(key: str) -> bool:
    number = whole_number(key)
    return number is not None and str(number) == key and number < 2**32 - 1


def text_of(value: Any) -> str:
    """A value as it appears in node-resque's Retry keys: texts unchanged, the rest as JSON."""
    if isinstance(value, str):
        return value
    return stringify(value)


# What may be written: nothing that a Ruby or Node worker can't read (wire document, 5.2, traps 12-13).
#
# `plain` is the fast check of every job, `explain` the slow one that names the location.

MAX_NESTING = 97  # Ruby reads 99 levels; a failed entry and the job in it take two
_HUGE = 2**1023
_CONTAINERS = {list, tuple, dict}

_HINTS = {
    "datetime": "write value.isoformat(), or milliseconds",
    "date": "write value.isoformat()",
    "Decimal": "write str(value) or float(value)",
    "UUID": "write str(value)",
    "bytes": "write base64 text",
    "set": "write sorted(value)",
    "frozenset": "write sorted(value)",
}


def plain(value: Any, room: int = MAX_NESTING) -> bool:
    """Whether JSON preserves a value exactly (surrogates are left to the encoder)."""
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return True
    if kind is int:
        return bool(-_HUGE < value < _HUGE)
    if kind is float:
        return math.isfinite(value)
    if room == 0 or kind not in _CONTAINERS:
        return False
    if kind is dict:
        for key in value:
            if type(key) is not str:
                return False
        value = value.values()
    for each in value:  # noqa: SIM110 - a generator takes as long as the rest of it, in small objects
        if not plain(each, room - 1):
            return False
    return True


def explain(value: Any, path: str = "args", room: int = MAX_NESTING) -> str | None:
    """What is wrong with a value, and where: `args[0].when: datetime is not JSON; …`."""
    if isinstance(value, str):
        return _explain_text(value, path)
    if value is None or isinstance(value, (bool, int, float)):
        return _explain_number(value, path)
    if isinstance(value, (dict, list, tuple)):
        if room == 0:
            return f"{path[:200]}: nested deeper than {MAX_NESTING} levels; Ruby can't read that"
        return _explain_inside(value, path, room - 1)
    name = type(value).__name__
    hint = _HINTS.get(name, "pass only text, numbers, booleans, None, lists and dicts")
    if name in _HINTS and name != "bytes":
        hint += ", or declare the task's input as one"
    return f"{path}: {name} is not JSON; {hint}"


def _explain_inside(value: Any, path: str, room: int) -> str | None:
    if isinstance(value, dict):
        for key, each in value.items():
            if not isinstance(key, str):
                return f"{path}: the key {key!r} is not a text; JSON has only text keys"
            if found := _explain_text(key, f"{path}: the key {key!r}"):
                return found
            if found := explain(each, f"{path}.{key}", room):
                return found
        return None
    inside = (explain(each, f"{path}[{index}]", room) for index, each in enumerate(value))
    return next((found for found in inside if found), None)


def _explain_text(text: str, path: str) -> str | None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        lone = text[error.start]
        return f"{path}: {lone!r} is a lone surrogate; that is no text in UTF-8"
    return None


def _explain_number(value: Any, path: str) -> str | None:
    if isinstance(value, float) and value - value != 0:
        return f"{path}: {value!r} is not JSON; pass None or a text"
    if isinstance(value, int) and not -_HUGE < value < _HUGE:
        return f"{path}: an integer beyond the range of a double; pass it as text"
    return None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value - value != 0:
        raise ValueError(f"{text[:20]} is beyond the range of a double")
    return value


_decoder = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)
_scan_once: Any = _decoder.scan_once  # type: ignore[attr-defined]  # what `raw_decode` calls


def _any_int(text: str) -> int | float:
    """An integer of any length: Python's int() accepts a few thousand digits only."""
    try:
        return int(text)
    except ValueError:
        return float(text)


# For reading what others wrote: control characters in texts and numbers of any length are tolerated.
QUICK = json.JSONDecoder(strict=False)  # three times as fast, but without very long numbers
LENIENT = json.JSONDecoder(strict=False, parse_int=_any_int)
# the value that begins at an offset of a text, and where it ends
scan = LENIENT.raw_decode
_DEEPEST_READ = 98  # one more than we write: the job itself counts


def named_twice(text: str) -> str | None:
    """A name that stands twice in an object of a JSON text, of which all readers keep the last in silence."""
    found: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in pairs]
        found.extend(name for name in names if names.count(name) > 1)

    json.loads(text, object_pairs_hook=look)
    return found[0] if found else None


def read_strict(raw: bytes) -> Any:
    """The value of a JSON text that Ruby and Node can read too.

    Raises:
        ValueError: invalid UTF-8, not JSON, NaN, a lone surrogate, 1e400, nested too deeply.
    """
    text = raw.decode("utf-8")
    try:
        value, end = _scan_once(text, 0) if text.startswith("{") else (None, -1)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except StopIteration:
        value, end = None, -1
    if end != len(text):
        value = _decode(text)  # accepts blanks around it, or raises
    many = len(raw) > _DEEPEST_READ and raw.count(b"[") + raw.count(b"{") > _DEEPEST_READ
    if many and depth(value) > _DEEPEST_READ:
        raise ValueError(f"nested deeper than {_DEEPEST_READ} levels")
    if b"\\u" in raw and (b"\\ud" in raw or b"\\uD" in raw):
        json.dumps(value, ensure_ascii=False).encode()  # raises for a lone surrogate
    return value


def _decode(text: str) -> Any:
    try:
        return _decoder.decode(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def depth(value: Any) -> int:
    """The number of nested levels of lists and dicts."""
    level, here = 0, [value]
    while here:
        inside: list[Any] = []
        for each in here:
            if isinstance(each, dict):
                inside.extend(each.values() or [None])
            elif isinstance(each, list):
                inside.extend(each or [None])
        level += bool(inside)
        here = inside
    return level


# -- why something can't be read: one line that reveals none of its content --

_BEFORE, _BEHIND = 24, 8  # bytes shown around the error
_MAX_CHARS = 60  # characters of a parser's message


def why_unreadable(raw: bytes, error: ValueError) -> str:
    """What is wrong, at which byte, and the shape of what surrounds it.

    Args:
        error: the error raised when these bytes were read.
    """
    if isinstance(error, UnicodeDecodeError):
        at = error.start
        return f"byte {at} of {len(raw)} is 0x{raw[at]:02x}, which is not UTF-8: {shape_around(raw, at)}"
    if isinstance(error, json.JSONDecodeError):
        if not raw:
            return "it is empty"
        at = len(error.doc[: error.pos].encode("utf-8", "surrogatepass"))
        words = error.msg.removesuffix(" at")
        return f"not JSON at byte {at} of {len(raw)} ({words}): {shape_around(raw, at)}"
    if isinstance(error, UnicodeEncodeError):
        return "it has a lone surrogate (half a character) among its \\u escapes"
    words = str(error)
    return words if len(words) <= _MAX_CHARS else f"{words[:_MAX_CHARS]}…"


def shape_around(raw: bytes, at: int) -> str:
    """The bytes around an offset, with x for letters and 0 for digits: the shape shows what is wrong
    without revealing content. Only the byte at the offset is shown exactly.
    """
    start, end = max(0, at - _BEFORE), at + 1 + _BEHIND
    signs = [_sign(raw[n], exact=n == at) for n in range(start, min(end, len(raw)))]
    return f"{'…' if start else ''}{''.join(signs)}{'…' if end < len(raw) else ''}"


def _sign(byte: int, *, exact: bool) -> str:
    sign = chr(byte)
    if byte < 0x20 or byte == 0x7F or (exact and byte > 0x7F):
        return f"\\x{byte:02x}"
    if exact:
        return sign
    if sign.isdigit() and byte < 0x80:
        return "0"
    return "x" if byte >= 0x80 or sign.isalpha() else sign


_BLANK = re.compile(r"[ \t\n\r]*")


def member_text(raw: bytes, name: str) -> bytes | None:
    """The exact text of one member of a JSON object; None if there is no such member or object.

    If there are several, the last one counts, as in every parser.
    """
    span = _span(raw, name)
    return None if span is None else _bytes(span[0][span[1] : span[2]])


def replace_member(raw: bytes, name: str, value: bytes) -> bytes:
    """The object with another text for one member; unchanged if it has no such member."""
    span = _span(raw, name)
    if span is None:
        return raw
    text, start, end = span
    return _bytes(text[:start]) + value + _bytes(text[end:])


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _span(raw: bytes, name: str) -> tuple[str, int, int] | None:
    try:
        text = raw.decode("utf-8", "surrogateescape")  # a broken byte elsewhere affects no member
        spans = [(start, end) for key, start, end in _members(text) if key == name]
    except (ValueError, RecursionError, IndexError):
        return None
    return (text, *spans[-1]) if spans else None


def _members(text: str) -> Iterator[tuple[object, int, int]]:
    at = _skip(text, 0)
    if text[at] != "{":
        return
    at = _skip(text, at + 1)
    while text[at] != "}":
        key, at = scan(text, at)
        start = _skip(text, _skip(text, at) + 1)
        _, end = scan(text, start)
        yield key, start, end
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    return match.end() if match else at
