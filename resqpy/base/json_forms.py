"""Python's values as JSON that Ruby and Node read as it stands, and such texts as values again.

`to_json` writes a value by its type, whatever holds it. Nothing is tagged, so reading must know the type: that is
done by a task's type hints (`framework/tasks/hints.py`), with the `read_…` functions, which raise ValueError.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from resqpy.base.errors import UsageError
from resqpy.base.json_rules import stringify
from resqpy.base.masking import text_of

T = TypeVar("T")

# -- texts --

ZONED = "has no time zone: use datetime.now(timezone.utc), or value.astimezone() for local time"
_TIME = r"\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?"  # ActiveJob writes nine digits
_DATE = r"\d{4}-\d\d-\d\d"
_IS_DATE = re.compile(_DATE).fullmatch
_IS_TIME = re.compile(_TIME).fullmatch
_IS_DATETIME = re.compile(rf"{_DATE}[Tt ]{_TIME} ?(Z|z|[+-]\d\d:?\d\d)?").fullmatch
_IS_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE).fullmatch
_IS_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?").fullmatch
_PART = r"([+-]?\d+(?:[.,]\d+)?)"
_IS_DURATION = re.compile(
    rf"([+-])?P(?=[^T]|T.)(?:{_PART}W)?(?:{_PART}D)?(?:T(?:{_PART}H)?(?:{_PART}M)?(?:{_PART}S)?)?"
).fullmatch
_PART_US = tuple(map(Decimal, (604_800_000_000, 86_400_000_000, 3_600_000_000, 60_000_000, 10**6)))
_MICROSECOND = timedelta(microseconds=1)


def datetime_text(value: datetime) -> str:
    """`2026-11-29T09:00:00Z`: in UTC, with three or six digits of a fraction if there is one.

    Raises:
        UsageError: it has no time zone.
    """
    if value.utcoffset() is None:
        raise UsageError(f"{value!r} {ZONED}")
    return f"{_clock_text(value.astimezone(UTC).replace(tzinfo=None))}Z"


def _clock_text(value: datetime | time) -> str:
    exact = "auto" if value.microsecond % 1000 else "milliseconds"
    return value.isoformat(timespec=exact).removesuffix(".000")


def read_datetime(text: str) -> datetime:
    """A time in UTC, of a text with any offset."""
    found = _IS_DATETIME(text)
    if found is None:
        raise ValueError
    if found[1] is None:
        raise ValueError("with its offset or Z")
    return datetime.fromisoformat(text.replace(",", ".").replace(" Z", "Z").upper()).astimezone(UTC)


def read_date(text: str) -> date:
    """A day: `2026-11-29`."""
    if not _IS_DATE(text):
        raise ValueError
    return date.fromisoformat(text)


def read_time(text: str) -> time:
    """A time of day: `09:00:00`."""
    if not _IS_TIME(text):
        raise ValueError
    return time.fromisoformat(text.replace(",", "."))


def duration_text(value: timedelta) -> str:
    """ISO 8601 in seconds, because a day of ISO may have 23 hours: `PT90S`, `PT0.25S`, `-PT3600S`."""
    us = value // _MICROSECOND
    seconds, fraction = divmod(abs(us), 10**6)
    digits = f".{fraction:06}".rstrip("0") if fraction else ""
    return f"{'-' if us < 0 else ''}PT{seconds}{digits}S"


def read_duration(given: str | float) -> timedelta:
    """A duration of ISO 8601 without years and months, or milliseconds."""
    if not isinstance(given, str):
        return timedelta(milliseconds=given)
    found = _IS_DURATION(given)
    if found is None:
        raise ValueError
    sign, *parts = found.groups()
    us = sum(
        Decimal(part.replace(",", ".")) * each
        for part, each in zip(parts, _PART_US, strict=True)
        if part
    )
    return timedelta(microseconds=int(-us if sign == "-" else us))


def read_uuid(text: str) -> UUID:
    """A UUID in its usual form, in letters of any case."""
    if not _IS_UUID(text):
        raise ValueError
    return UUID(text)


def read_decimal(given: str | int) -> Decimal:
    """A decimal number; a float has lost digits already."""
    if isinstance(given, str) and not _IS_DECIMAL(given):
        raise ValueError
    return Decimal(given)


def _decimal_text(value: Decimal) -> str:
    if not value.is_finite():
        raise UsageError(f"{value!r} is no number; pass None")
    return str(value)


def _time_text(value: time) -> str:
    if value.tzinfo is not None:
        raise UsageError(
            f"{value!r} has a time zone, which a time of day can't have; use a datetime"
        )
    return _clock_text(value)


# -- users' own types --


class OwnForm(NamedTuple):
    """How values of a user's type become JSON, and JSON such values."""

    to_json: Callable[[Any], Any]
    from_json: Callable[[Any], Any]


OWN: dict[type, OwnForm] = {}


def converter(kind: type[T], *, to_json: Callable[[T], Any], from_json: Callable[[Any], T]) -> None:
    """Let inputs and results be of a type of your own: call it in the module that defines the type.

    A later call for the same type takes the place of the former one; types that resqpy knows can be given another
    form as well.

    Args:
        kind: the type; values of classes derived from it are written, too.
        to_json: makes JSON of a value: text, numbers, lists, dicts, or what resqpy can write.
        from_json: makes a value of what `to_json` made. An error that it raises means that the JSON is not valid,
            and its message is told.

    Raises:
        UsageError: an argument is not what it should be.
    """
    if not isinstance(kind, type):
        raise UsageError(f"converter: {kind!r} is not a type")
    for name, function in (("to_json", to_json), ("from_json", from_json)):
        if not callable(function):
            raise UsageError(
                f"converter of {kind.__name__}: {name} is {function!r}, not a function"
            )
    OWN[kind] = OwnForm(to_json, from_json)
    _writer_of.cache_clear()


def own_form(kind: type) -> OwnForm | None:
    """The form of a user's type, or of one that it is derived from."""
    return next((OWN[each] for each in kind.__mro__ if each in OWN), None)


# -- by the libraries that define a type, if a program has imported them: resqpy imports none of them --


def is_pydantic(kind: type) -> bool:
    """Whether pydantic reads and writes a type: a model, a dataclass of its own, a type such as `HttpUrl`."""
    known = hasattr(kind, "__pydantic_validator__") or hasattr(kind, "__get_pydantic_core_schema__")
    return known and "pydantic" in sys.modules


def is_msgspec(kind: type) -> bool:
    """Whether it is a `msgspec.Struct`."""
    return hasattr(kind, "__struct_fields__") and "msgspec" in sys.modules


@lru_cache(1024)
def pydantic_adapter(hint: Any) -> Any:
    """What pydantic validates and writes a type or hint with."""
    return sys.modules["pydantic"].TypeAdapter(hint)


def _written_by_pydantic(kind: type, value: Any) -> Any:
    # a round trip leaves out what is computed from the rest
    dump = partial(pydantic_adapter(kind).dump_python, value, by_alias=True, round_trip=True)
    return _with_sorted_sets(dump(), dump(mode="json"))


def _with_sorted_sets(value: Any, written: Any) -> Any:
    """What was written, with the lists that were sets in an order that every process has."""
    if isinstance(value, AbstractSet) and isinstance(written, list):
        return in_order(written)
    if isinstance(value, Mapping) and isinstance(written, dict) and value.keys() == written.keys():
        return {name: _with_sorted_sets(value[name], each) for name, each in written.items()}
    if isinstance(value, list | tuple) and isinstance(written, list):
        return [_with_sorted_sets(*each) for each in zip(value, written, strict=True)]
    return written


# -- writing --


def to_json(value: Any) -> Any:
    """A value as JSON. What resqpy does not know is left as it is.

    Raises:
        UsageError: it can't be written: a datetime without a zone, say.
    """
    kind: Any = type(value)
    return _writer_of(kind)(value)


def in_order(written: Iterable[Any]) -> list[Any]:
    """The items of a set: sorted, so that equal sets are equal texts."""
    items = list(written)
    try:
        return sorted(items)
    except TypeError:  # of several types, or objects
        return sorted(items, key=stringify)


def _same(value: Any) -> Any:
    return value


def _written_by_own(own: OwnForm, value: Any) -> Any:
    made = own.to_json(value)
    return made if type(made) is type(value) else to_json(made)


def _key(key: Any) -> Any:
    written = to_json(key)
    return str(written) if type(written) is int else written


_WRITERS: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (Enum, lambda value: to_json(value.value)),
    (str, _same),
    (datetime, datetime_text),
    (date, date.isoformat),
    (time, _time_text),
    (timedelta, duration_text),
    (UUID, str),
    (Decimal, _decimal_text),
    (list, lambda value: [*map(to_json, value)]),
    (AbstractSet, lambda value: in_order(map(to_json, value))),
    (Mapping, lambda value: {_key(key): to_json(each) for key, each in value.items()}),
)


@lru_cache(1024)
def _writer_of(kind: type) -> Callable[[Any], Any]:
    if (own := own_form(kind)) is not None:
        return partial(_written_by_own, own)
    if is_pydantic(kind):
        return partial(_written_by_pydantic, kind)
    if is_msgspec(kind):
        return partial(sys.modules["msgspec"].to_builtins, str_keys=True, order="deterministic")
    if (names := field_names(kind)) is not None:
        pairs = tuple(names.items())
        return lambda value: {name: to_json(getattr(value, attr)) for name, attr in pairs}
    if issubclass(kind, tuple):
        return lambda value: [*map(to_json, value)]
    return next((writer for each, writer in _WRITERS if issubclass(kind, each)), _same)


def field_names(kind: type) -> dict[str, str] | None:
    """The attributes of a record by their names in its constructor, which are those in JSON; None: it is none."""
    if hasattr(kind, "__attrs_attrs__"):
        return {each.alias: each.name for each in kind.__attrs_attrs__ if each.init}
    if dataclasses.is_dataclass(kind):
        return {each.name: each.name for each in dataclasses.fields(kind) if each.init}
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return {name: name for name in kind._fields}
    return None


def looked_at(value: Any) -> Any:
    """What is shown of a value that is no JSON: the fields of a record by their names, its JSON, or its repr."""
    names = field_names(type(value))
    if names is not None:
        return {name: getattr(value, attribute, None) for name, attribute in names.items()}
    try:
        made = to_json(value)
    except Exception:  # what can't be written can still be shown
        made = value
    return text_of(value) if type(made) is type(value) else made
