"""Readers of JSON for single types; `hints.py` builds those of whole type hints from them.

A reader takes JSON, or a value of the type itself, and returns what `run` gets. Writing is `to_json`'s
(`base/json_forms.py`), which needs no hint.
"""

from __future__ import annotations

import re
import sys
from collections.abc import (
    Callable,
    Iterable,
    Sequence,
)
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal, localcontext
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

from resqpy.base import json_forms as forms
from resqpy.base.codec import encode_text
from resqpy.base.errors import UsageError, class_of, message_of
from resqpy.base.json_rules import explain, plain as is_json

Schema = dict[str, Any]
Defs = dict[str, Schema]

NOT_TOLD: Any = object()


class Fault(NamedTuple):
    """What is wrong at one place.

    Attributes:
        path: from the input inwards: names and numbers.
        value: what stands there.
    """

    path: tuple[str | int, ...]
    words: str
    value: Any = NOT_TOLD

    @property
    def place(self) -> str:
        """The path as people write it: `[1].qty`."""
        return "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in self.path)


class Mismatch(Exception):
    """A value does not fit its type hint."""

    def __init__(self, *problems: Fault) -> None:
        super().__init__(*problems)
        self.faults = problems

    def inside(self, step: str | int) -> Mismatch:
        """The same, one step further out."""
        return Mismatch(*(each._replace(path=(step, *each.path)) for each in self.faults))


def wrong(words: str, value: Any = NOT_TOLD) -> Mismatch:
    """An error about a whole value."""
    return Mismatch(Fault((), words, value))


@dataclass(slots=True)
class Reader:
    """The values of one type hint.

    Attributes:
        read: makes of JSON, or of a value of the type, what `run` gets; raises `Mismatch`.
        schema: the JSON Schema of what is in Redis; it adds the types that it refers to.
        plain: `read` only checks: what is in Redis and what `run` gets are the same.
        constructs: `read` calls classes of users, which may make something else of what they are given.
    """

    read: Callable[[Any], Any]
    schema: Callable[[Defs], Schema]
    plain: bool = False
    constructs: bool = False


# -- JSON's own types --


def _plain(
    words: str, fits: Callable[[Any], bool], schema: Schema, usual: type | None = None
) -> Reader:
    """A type of JSON's own.

    Args:
        usual: values of this very type fit, without asking.
    """

    def read(value: Any) -> Any:
        if type(value) is usual or fits(value):
            return value
        raise wrong(f"must be {words}", value)

    return Reader(read, lambda _: dict(schema), plain=True)


def _is_number(value: Any, kinds: Any) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


ANY = Reader(lambda value: value, lambda _: {}, plain=True)
NESTED_ANY = _plain(
    "text, a number, a boolean, None, a list or a dict; for anything else its type must be declared",
    lambda value: explain(value) is None,
    {},
)
NONE = _plain("None", lambda value: value is None, {"type": "null"})
PLAIN: dict[Any, Reader] = {
    Any: ANY,
    object: ANY,
    None: NONE,
    type(None): NONE,
    bool: _plain("bool", lambda value: isinstance(value, bool), {"type": "boolean"}, bool),
    int: _plain("int", lambda value: _is_number(value, int), {"type": "integer"}, int),
    float: _plain(
        "float", lambda value: _is_number(value, (int, float)), {"type": "number"}, float
    ),
    str: _plain("str", lambda value: isinstance(value, str), {"type": "string"}, str),
}

# -- texts with a meaning --


def _text(
    kind: type, words: str, parse: Callable[[Any], Any], given: Any, schema: Schema
) -> Reader:
    """A type that is a text in JSON.

    Args:
        parse: reads what is of the types `given`.
    """

    def read(value: Any) -> Any:
        try:
            if isinstance(value, kind) and not (kind is date and isinstance(value, datetime)):
                value = forms.to_json(value)  # in its one form, so that all runs get alike
            if isinstance(value, given) and not isinstance(value, bool):
                return parse(value)
        except UsageError as error:
            raise wrong(f"is not valid: {error}") from error
        except (ValueError, ArithmeticError) as error:
            more = f", {error}" if type(error) is ValueError and str(error) else ""
            raise wrong(f"must be {words}{more}", value) from error
        raise wrong(f"must be {words}", value)

    return Reader(read, lambda _: dict(schema))


def _format(name: str) -> Schema:
    return {"type": "string", "format": name}


TEXTS: dict[type, Reader] = {
    datetime: _text(
        datetime, "a datetime such as '2026-11-29T09:00:00Z'", forms.read_datetime, str,
        _format("date-time"),
    ),
    date: _text(date, "a date such as '2026-11-29'", forms.read_date, str, _format("date")),
    time: _text(time, "a time of day such as '09:00:00'", forms.read_time, str, _format("time")),
    timedelta: _text(
        timedelta, "a duration such as 'PT90S', or milliseconds", forms.read_duration,
        str | int | float, {"anyOf": [_format("duration"), {"type": "number"}]},
    ),
    UUID: _text(
        UUID, "a UUID such as '0b5cf0f6-6a29-4a43-9b3f-0c8f0a3e4d11'", forms.read_uuid, str,
        _format("uuid"),
    ),
    Decimal: _text(
        Decimal, "a decimal number as text, such as '12.30'", forms.read_decimal, str | int,
        {"type": "string", "format": "decimal"},
    ),
}  # fmt: skip


def enum_reader(kind: type[Enum]) -> Reader:
    """An enum: its values stand in JSON."""
    values = [member.value for member in kind]
    if not all(value is None or isinstance(value, str | int | float) for value in values):
        raise UsageError(
            f"is the enum {kind.__name__}, whose values JSON can't represent; give them texts or numbers, or "
            "call resqpy.converter"
        )
    known = {type(value) for value in values}
    words = f"must be {' or '.join(map(repr, values))}"

    def read(value: Any) -> Any:
        if isinstance(value, kind):
            return value
        try:
            if type(value) in known:
                return kind(value)
        except ValueError:
            pass
        raise wrong(words, value)

    return Reader(read, lambda _: {"enum": values})


def literal_reader(choices: tuple[Any, ...], words: str) -> Reader:
    """A `Literal`, also of members of enums."""
    written = [(forms.to_json(each), each) for each in choices]

    def read(value: Any) -> Any:
        for json, each in written:
            if value is each or (value == json and type(value) is type(json)):
                return each
        raise wrong(f"must be {words}", value)

    plain = not any(isinstance(each, Enum) for each in choices)
    return Reader(read, lambda _: {"enum": [json for json, _ in written]}, plain)


def own_reader(kind: type, own: forms.OwnForm) -> Reader:
    """A type for which a user called `converter`."""

    def read(value: Any) -> Any:
        if isinstance(value, kind):
            value = forms.to_json(value)
        try:
            return own.from_json(value)
        except Exception as error:  # users' functions may raise anything: it means "not valid"
            words = f"is not a valid {kind.__name__}: {message_of(error) or class_of(error)}"
            raise wrong(words, value) from error

    return Reader(read, lambda _: {"description": kind.__name__})


def _read_int_key(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?(0|[1-9]\d*)", value, re.ASCII):
        return int(value)
    raise wrong("must have keys of int", value)


INT_KEY = Reader(_read_int_key, PLAIN[str].schema)

# -- what `Annotated` demands: by the names of annotated_types, whoever's objects have them --


def _is_multiple(value: Any, bound: Any) -> bool:
    if not isinstance(value, int | float | Decimal):
        return bool(not value % bound)
    with localcontext(
        prec=800
    ):  # 0.3 is a multiple of 0.1, which floats deny; so many digits a float may have
        return not Decimal(str(value)) % Decimal(str(bound))


_BOUNDS: dict[str, tuple[str, Callable[[Any, Any], bool], str]] = {
    "gt": ("greater than", lambda value, bound: value > bound, "exclusiveMinimum"),
    "ge": ("at least", lambda value, bound: value >= bound, "minimum"),
    "lt": ("less than", lambda value, bound: value < bound, "exclusiveMaximum"),
    "le": ("at most", lambda value, bound: value <= bound, "maximum"),
    "multiple_of": ("a multiple of", _is_multiple, "multipleOf"),
    "min_length": ("of a length of at least", lambda value, bound: len(value) >= bound, "min"),
    "max_length": ("of a length of at most", lambda value, bound: len(value) <= bound, "max"),
    "pattern": ("a text that matches", lambda value, bound: bool(re.search(bound, value)), "pattern"),
}  # fmt: skip
_LENGTHS = {"string": "Length", "array": "Items", "object": "Properties"}


def bounded(reader: Reader, metadata: Iterable[Any]) -> Reader:
    """The same reader with the constraints of `Annotated`; what has none of their names is for others."""
    demands = [
        (name, bound)
        for each in metadata
        for name in _BOUNDS
        if (bound := getattr(each, name, None)) is not None
    ]
    if not demands:
        return reader
    for name, bound in demands:
        _refuse_impossible(name, bound)
    inner = reader.read

    def read(value: Any) -> Any:
        made = inner(value)
        if made is None:  # where the type has None, the constraint is that of the other member
            return made
        for name, bound in demands:
            words, holds, _ = _BOUNDS[name]
            if not _holds(holds, made, bound):
                raise wrong(f"must be {words} {bound!r}", value)
        return made

    def schema(defs: Defs) -> Schema:
        made = reader.schema(defs)
        for name, bound in demands:
            word = _BOUNDS[name][2]
            word += _LENGTHS.get(str(made.get("type")), "Length") if "length" in name else ""
            made[word] = getattr(bound, "pattern", forms.to_json(bound))
        return made

    return Reader(read, schema, reader.plain)


def _refuse_impossible(name: str, bound: Any) -> None:
    """A constraint that no value can meet."""
    try:
        if name == "pattern":
            re.compile(bound)
        if name == "multiple_of":
            _is_multiple(bound, bound)
    except (re.error, ArithmeticError, TypeError) as error:
        why = "" if isinstance(error, ArithmeticError) else f": {error}"
        raise UsageError(
            f"has the constraint {name}={bound!r}, which no value can meet{why}"
        ) from error


def _holds(holds: Callable[[Any, Any], bool], value: Any, bound: Any) -> bool:
    try:
        return holds(value, bound)
    except (TypeError, ArithmeticError):  # a bound of another type, or a number beyond all digits
        return False


# -- by the libraries of those types --


def pydantic_reader(hint: Any) -> Reader:
    """What pydantic validates, as it validates JSON."""
    adapter = forms.pydantic_adapter(hint)
    failure = sys.modules["pydantic"].ValidationError

    def validated(json: Any) -> Any:
        try:
            return adapter.validate_json(encode_text(json))
        except UnicodeEncodeError as error:
            raise wrong("has a lone surrogate, which JSON can't represent") from error
        except failure as error:
            raise Mismatch(
                *(
                    Fault(each["loc"], f"is not valid: {each['msg']}", each["input"])
                    for each in error.errors(include_url=False, include_context=False)
                )
            ) from error

    def read(value: Any) -> Any:
        if is_json(value):
            return validated(value)
        made = validated(forms.to_json(value))
        if not _equal(made, value):
            raise wrong("would lose something on its way: its JSON reads as another value", value)
        return made

    return Reader(read, lambda defs: _with_defs(adapter.json_schema(ref_template=_REF), defs))


def _equal(made: Any, value: Any) -> bool:
    """Whether a value of pydantic's came back; of a model the fields count, not what it keeps beside them."""
    names = getattr(type(value), "__pydantic_fields__", None)
    if names is None:
        return bool(made == value)
    return all(getattr(made, name, None) == getattr(value, name, None) for name in names)


def msgspec_reader(hint: Any) -> Reader:
    """What msgspec converts."""
    library = sys.modules["msgspec"]

    def read(value: Any) -> Any:
        json = value if is_json(value) else forms.to_json(value)
        try:
            return library.convert(json, type=hint, str_keys=True)
        except library.ValidationError as error:
            words, _, place = str(error).partition(" - at `$")
            steps = re.findall(r"\[(\d+)\]|\.(\w+)|(\[\.\.\.\])", place)
            path = tuple(int(number) if number else name or "…" for number, name, _ in steps)
            raise Mismatch(Fault(path, f"is not valid: {words}", _at(json, path))) from error

    def schema(defs: Defs) -> Schema:
        made: Schema
        (made,), found = library.json.schema_components([hint], ref_template="#/$defs/{name}")
        defs.update(found)
        return made

    return Reader(read, schema)


_REF = "#/$defs/{model}"


def _with_defs(schema: Schema, defs: Defs) -> Schema:
    defs.update(schema.pop("$defs", {}))
    return schema


def _at(value: Any, path: Sequence[str | int]) -> Any:
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return NOT_TOLD
    return value
