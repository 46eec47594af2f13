"""Jobs of Rails' ActiveJob: what its adapter for Resque wraps, seen as jobs of their own classes.

Each has the one class `WRAPPER` and one argument: an object with the real class, the serialized arguments and how
often it was tried. `opened` shows the class and the arguments as plain JSON, whose texts a task's type hints
read; `serialized` makes them for Rails. Bytes are changed by text only (`tried_again`).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Generic, NamedTuple, Self, TypeVar

from resqpy.base.errors import InvalidInputs
from resqpy.base.json_forms import ZONED, converter, duration_text
from resqpy.base.json_rules import member_text, replace_member

T = TypeVar("T")

WRAPPER = "ActiveJob::QueueAdapters::ResqueAdapter::JobWrapper"
_DIGITS = 10  # of a number of tries

_GLOBALID, _SERIALIZED = "_aj_globalid", "_aj_serialized"
_SYMBOL_KEYS, _KEYWORDS = "_aj_symbol_keys", "_aj_ruby2_keywords"
_RESERVED = (_GLOBALID, _SERIALIZED, _SYMBOL_KEYS, _KEYWORDS, "_aj_hash_with_indifferent_access")
_PREFIX = "ActiveJob::Serializers::"


# -- Ruby's values that Python has no type for --


class Symbol(str):
    """A Ruby symbol, to be sent; one that arrives is a text."""

    __slots__ = ()


class GlobalID(NamedTuple):
    """A reference to a record of an application, as Rails sends models: `gid://shop/User/17`.

    Attributes:
        app: the application's name.
        model: the class.
        id: its id, as text.
    """

    app: str
    model: str
    id: str

    @classmethod
    def parse(cls, text: Any) -> Self:
        """Read one.

        Raises:
            ValueError: it is none.
        """
        scheme, _, rest = str(text).partition("://")
        parts = rest.split("/", 2)
        if scheme != "gid" or len(parts) != 3 or not all(parts):
            raise ValueError("expected gid://APP/MODEL/ID")
        return cls(*parts)

    def __str__(self) -> str:
        return f"gid://{self.app}/{self.model}/{self.id}"


converter(GlobalID, to_json=str, from_json=GlobalID.parse)


@dataclass(frozen=True, slots=True)
class Range(Generic[T]):
    """A Ruby range.

    Attributes:
        exclude_end: it is `begin...end`.
    """

    begin: T
    end: T
    exclude_end: bool = False


# -- what arrives --


class RubyHash(dict[str, Any]):
    """A hash among the arguments.

    Attributes:
        keywords: it is the keywords of the call, not an argument.
    """

    keywords = False


class _Unknown(dict[str, Any]):
    """What can't be read.

    Attributes:
        why: in words.
    """

    why = ""


def is_wrapper(class_name: object, args: object) -> bool:
    """Whether a job is one of ActiveJob, with a class in it."""
    if class_name != WRAPPER or not isinstance(args, list) or len(args) != 1:
        return False
    name = args[0].get("job_class") if isinstance(args[0], dict) else None
    return isinstance(name, str) and bool(name)


def opened(args: list[Any]) -> tuple[str, list[Any], dict[str, Any]]:
    """The class and the arguments of a job that `is_wrapper`, and what else its wrapper says."""
    facts = dict(args[0])
    given = facts.pop("arguments", None)
    name: str = facts.pop("job_class")
    if not isinstance(given, list):
        return name, [], facts
    try:
        return name, [*map(_read, given)], facts
    except RecursionError:
        return name, [_unknown({"arguments": given}, "it is nested too deeply")], facts


def class_in(payload: Mapping[str, Any]) -> Any:
    """What stands for the class of a job: that of an ActiveJob is in its wrapper."""
    name, args = payload.get("class"), payload.get("args")
    if isinstance(args, list) and is_wrapper(name, args):
        return args[0]["job_class"]
    return name


def args_in(payload: Mapping[str, Any]) -> Any:
    """What stands for the arguments of a job."""
    name, args = payload.get("class"), payload.get("args")
    return opened(args)[1] if isinstance(args, list) and is_wrapper(name, args) else args


def executions(facts: Mapping[str, Any]) -> int:
    """How often a job was tried before."""
    made = facts.get("executions")
    return made if type(made) is int and 0 < made < 10**_DIGITS else 0


def tried_again(raw: bytes) -> bytes:
    """The text of a job that has failed once more: only its `executions` change."""
    args = member_text(raw, "args")
    wrapper = b"" if args is None else args.strip()[1:-1].strip()
    made = member_text(wrapper, "executions")
    few = made is not None and made.isdigit() and len(made) <= _DIGITS
    if args is None or made is None or not (few or made == b"null"):
        return raw
    count = b"%d" % (int(made if few else 0) + 1)
    return replace_member(raw, "args", b"[%b]" % replace_member(wrapper, "executions", count))


def check_readable(args: Sequence[Any]) -> None:
    """Refuse arguments that could not be read: nothing in a job may decide what code reads it.

    Raises:
        InvalidInputs: which, and why.
    """
    for number, each in enumerate(args):
        for unknown in _unknowns(each):
            raise InvalidInputs(
                f"argument {number} of the ActiveJob can't be read: {unknown.why}; send what ActiveJob serializes "
                "itself, or what JSON has"
            )


def _unknowns(value: Any) -> Iterator[_Unknown]:
    if isinstance(value, _Unknown):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _unknowns(each)
    elif isinstance(value, list):
        for each in value:
            yield from _unknowns(each)


def _read(value: Any) -> Any:
    if isinstance(value, list):
        return [*map(_read, value)]
    if not isinstance(value, dict):
        return value
    if _GLOBALID in value:
        text = value[_GLOBALID]
        fine = isinstance(text, str) and len(value) == 1
        return text if fine else _unknown(value, f"{_GLOBALID} is {text!r}")
    if _SERIALIZED in value:
        return _read_object(value)
    made = RubyHash((name, _read(each)) for name, each in value.items() if name not in _RESERVED)
    made.keywords = _KEYWORDS in value
    return made


def _unknown(value: dict[str, Any], why: str) -> _Unknown:
    made = _Unknown(value)
    made.why = why
    return made


def _read_object(value: dict[str, Any]) -> Any:
    name = value[_SERIALIZED]
    short = name.removeprefix(_PREFIX) if isinstance(name, str) else ""
    if short == name or (read := _READERS.get(short)) is None:
        return _unknown(value, f"resqpy knows no serializer {name!r}")
    try:
        return read(value)
    except Exception:  # a foreign value may raise anything: decimal.InvalidOperation, for one
        return _unknown(value, f"it is no value of {name}")


def _text(value: dict[str, Any]) -> str:
    text = value["value"]
    if not isinstance(text, str):
        raise TypeError
    return text


def _duration(value: dict[str, Any]) -> str:
    seconds = value["value"]
    if isinstance(seconds, dict):  # Rails 7.1: a BigDecimal
        seconds = Decimal(_read(seconds))
    if isinstance(seconds, bool) or not isinstance(seconds, int | float | Decimal):
        raise TypeError
    return duration_text(timedelta(microseconds=round(Decimal(str(seconds)) * 10**6)))


def _range(value: dict[str, Any]) -> dict[str, Any]:
    return {name: _read(value[name]) for name in ("begin", "end", "exclude_end")}


_READERS: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    **{f"{each}Serializer": _text
       for each in ("Symbol", "Date", "DateTime", "Time", "TimeWithZone", "Module", "BigDecimal")},
    "DurationSerializer": _duration,
    "RangeSerializer": _range,
    "ActionControllerParametersSerializer": lambda value: _read(value["value"]),
}  # fmt: skip


# -- what is sent --


def serialized(value: Any) -> Any:
    """A value as ActiveJob serializes it.

    Raises:
        InvalidInputs: it has no form for it.
    """
    for kind, write in _WRITERS:
        if isinstance(value, kind):
            return write(value)
    raise InvalidInputs(
        f"{value!r} is a {type(value).__name__}, which ActiveJob has no serializer for; send what JSON has, a "
        "datetime, date, timedelta, Decimal, Symbol, Range or GlobalID"
    )


def wrapped(
    job_class: str,
    queue: str,
    args: Sequence[Any],
    keywords: Mapping[str, Any],
    now_ms: int,
    at_ms: int | None = None,
    **facts: Any,
) -> dict[str, Any]:
    """The one argument of a new job for Rails.

    Args:
        at_ms: when it is due.
        facts: other values than usual of `priority`, `locale`, `timezone`, `job_id`.

    Raises:
        InvalidInputs: an argument has no form in ActiveJob.
    """
    given = [serialized(each) for each in args]
    if keywords:
        named = {name: serialized(each) for name, each in keywords.items()}
        given.append({**named, _KEYWORDS: [*keywords]})
    due = None if at_ms is None else _nanoseconds(datetime.fromtimestamp(at_ms / 1000, UTC))
    return {
        "job_class": job_class,
        "job_id": str(uuid.uuid4()),
        "provider_job_id": None,
        "queue_name": queue,
        "priority": None,
        "arguments": given,
        "executions": 0,
        "exception_executions": {},
        "locale": None,  # Rails' own default
        "timezone": None,
        "enqueued_at": _nanoseconds(datetime.fromtimestamp(now_ms / 1000, UTC)),
        "scheduled_at": due,
        **facts,
    }


def _nanoseconds(value: datetime) -> str:
    if value.utcoffset() is None:
        raise InvalidInputs(f"{value!r} {ZONED}")
    utc = value.astimezone(UTC).replace(tzinfo=None)
    return f"{utc.isoformat(timespec='microseconds')}000Z"


def _by(serializer: str, **value: Any) -> dict[str, Any]:
    return {_SERIALIZED: f"{_PREFIX}{serializer}Serializer", **value}


def _symbol(value: str) -> dict[str, Any]:
    return _by("Symbol", value=str(value))


def _write_duration(value: timedelta) -> dict[str, Any]:
    seconds = value.total_seconds()
    number = int(seconds) if seconds.is_integer() else seconds
    return _by("Duration", value=number, parts=[[_symbol("seconds"), number]])


def _write_hash(value: Mapping[Any, Any]) -> dict[str, Any]:
    for name in value:
        if not isinstance(name, str) or name in _RESERVED:
            raise InvalidInputs(f"the name {name!r} in a hash is {_WRONG_NAME}")
    made = {str(name): serialized(each) for name, each in value.items()}
    return {**made, _SYMBOL_KEYS: [str(name) for name in value if isinstance(name, Symbol)]}


_WRONG_NAME = "none that ActiveJob takes: it must be a text, and none of its own names"


def _write_range(value: Range[Any]) -> dict[str, Any]:
    begin, end = serialized(value.begin), serialized(value.end)
    return _by("Range", begin=begin, end=end, exclude_end=value.exclude_end)


def _same(value: Any) -> Any:
    return value


_WRITERS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (Symbol, _symbol),
    ((str, int, float, type(None)), _same),
    (GlobalID, lambda value: {_GLOBALID: str(value)}),
    (datetime, lambda value: _by("Time", value=_nanoseconds(value))),
    (date, lambda value: _by("Date", value=value.isoformat())),
    (timedelta, _write_duration),
    (Decimal, lambda value: _by("BigDecimal", value=str(value))),
    (Range, _write_range),
    (Mapping, _write_hash),
    ((list, tuple), lambda value: [*map(serialized, value)]),
)
