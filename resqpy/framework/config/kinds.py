"""Types of settings: how a value is checked, and how it is read from an environment variable.

A declared setting names its type; no other code parses texts or compares types.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from datetime import timedelta
from math import inf
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from resqpy.base.errors import UsageError
from resqpy.base.imports import near_match
from resqpy.base.masking import masked
from resqpy.base.when import duration_ms, parse_duration
from resqpy.engine.worker.queues import QueueNames
from resqpy.store.connection.options import checked_limits


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of setting.

    Attributes:
        words: what is expected, for messages.
        check: takes what a config file returns and returns what is kept; raises UsageError.
        parse: converts a text to what a config file could have returned.
    """

    words: str
    check: Callable[[Any], Any]
    parse: Callable[[str], Any] = str


def wrong(value: Any, words: str) -> UsageError:
    """The error for a value of the wrong type."""
    return UsageError(f"{masked('', value)!r} is not {words}")


# -- booleans, numbers, texts --

_YES = frozenset({"1", "true", "yes", "on", "y", "t"})
_NO = frozenset({"0", "false", "no", "off", "n", "f", ""})


def _parse_flag(text: str) -> bool:
    word = text.strip().lower()
    if word not in _YES | _NO:
        raise wrong(text, "yes or no (1, true, yes, on; 0, false, no, off)")
    return word in _YES


def _check_flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise wrong(value, "True or False")
    return value


FLAG = Kind("True or False", _check_flag, _parse_flag)


def whole(least: int, words: str, *, most: float = inf, optional: bool = False) -> Kind:
    """An integer within bounds; `optional` accepts None too."""

    def check(value: Any) -> int | None:
        if value is None and optional:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise wrong(value, words)
        return value

    return Kind(words, check, lambda text: _number(text, int, words))


PORT = whole(1, "a port number, 1 to 65535", most=65535)
PORT_OR_NONE = whole(1, "a port number, 1 to 65535, or None", most=65535, optional=True)


def _number(text: str, make: Callable[[str], Any], words: str) -> Any:
    try:
        return make(text.strip().replace("_", ""))
    except ValueError as error:
        raise wrong(text, words) from error


def _check_text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise wrong(value, "a text")
    return value


TEXT = Kind("a text", _check_text)
TEXT_OR_NONE = Kind(
    "a text or None", lambda value: None if value in (None, "") else _check_text(value)
)
ANY_TEXT = Kind("a text", lambda value: TEXT_OR_NONE.check(value) or "")
FILE_OR_NONE = Kind("the path of a file or None", TEXT_OR_NONE.check)


def choice(*words: str) -> Kind:
    """One of several words."""
    told = "one of " + ", ".join(words)

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in words:
            raise UsageError(f"{value!r} is not {told}{near_match(str(value), words)}")
        return str(value)

    return Kind(told, check)


# -- times and sizes --


def _check_duration(value: Any) -> int:
    return duration_ms(parse_duration(value) if isinstance(value, str) else value, "duration")


def _check_some_time(value: Any) -> int:
    milliseconds = _check_duration(value)
    if milliseconds < 1:
        raise wrong(value, "a duration above zero, in milliseconds")
    return milliseconds


def _check_delay(value: Any) -> float:
    if isinstance(value, timedelta):
        value = value / timedelta(milliseconds=1)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 10**9:
        raise wrong(value, "a number of milliseconds")
    return float(value)


DURATION = Kind("milliseconds or a timedelta", _check_duration, parse_duration)
TIME = Kind("milliseconds (above zero) or a timedelta", _check_some_time, parse_duration)
FINE_DELAY = Kind("milliseconds", _check_delay, lambda text: _number(text, float, "milliseconds"))
DURATION_OR_NONE = Kind(
    "milliseconds, a timedelta or None",
    lambda value: None if value is None else _check_duration(value),
    parse_duration,
)

_SIZE = re.compile(r"(\d+) *(b|kb|mb|gb)?")
_BYTES = {"b": 1, "kb": 2**10, "mb": 2**20, "gb": 2**30}


def _parse_size(text: str) -> int:
    found = _SIZE.fullmatch(text.strip().lower())
    if found is None:
        raise wrong(text, "a number of bytes (or 512kB, 10MB, 1GB)")
    return int(found[1]) * _BYTES[found[2] or "b"]


def _check_size(value: Any) -> int:
    size = _parse_size(value) if isinstance(value, str) else value
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise wrong(value, "a number of bytes above zero")
    return size


SIZE = Kind("a number of bytes", _check_size, _parse_size)
SIZE_OR_NONE = Kind(
    "a number of bytes or None", lambda v: None if v is None else _check_size(v), _parse_size
)


def _check_zone(value: Any) -> str:
    try:
        ZoneInfo(_check_text(value))
    except (KeyError, ValueError, OSError) as error:
        raise wrong(value, "a time zone such as 'UTC' or 'Europe/Berlin'") from error
    return str(value)


ZONE = Kind("a time zone", _check_zone)

# -- several values --


def split(text: str) -> list[str]:
    """The parts of a comma-separated text."""
    return [part.strip() for part in text.split(",") if part.strip()]


def _check_texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(split(value))
    if not isinstance(value, Sequence) or not all(isinstance(each, str) for each in value):
        raise wrong(value, "a list of texts")
    return tuple(value)


TEXTS = Kind("a list of texts", _check_texts, split)


def _check_queues(value: Any) -> Any:
    if callable(value):
        return value
    if isinstance(value, list | tuple):
        value = [
            f"{each[0]}={each[1]}" if isinstance(each, list | tuple) and len(each) == 2 else each
            for each in value
        ]
    queues = _check_texts(value)
    if not queues:
        raise wrong(value, "a non-empty list of queues (['*'] for all)")
    QueueNames(queues)  # it says what is wrong
    return queues


QUEUES = Kind(
    "a list of queue names or (name, weight), or a function that returns one", _check_queues, split
)


def _parse_mapping(text: str) -> dict[str, Any]:
    pairs = [part.partition("=") for part in split(text)]
    if any(not equals for _, equals, _ in pairs):
        raise wrong(text, "a list such as name=value,name=value")
    return {name.strip(): _plain_value(value.strip()) for name, _, value in pairs}


def _plain_value(text: str) -> Any:
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    for make in (int, float):
        try:
            return make(text)
        except ValueError:
            continue
    return text


def _check_mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise wrong(value, "a dict with texts as keys")
    return MappingProxyType(dict(value))


MAPPING = Kind("a dict", _check_mapping, _parse_mapping)
QUEUE_LIMITS = Kind(
    "a dict of queues and numbers of jobs, or None",
    lambda value: None if value is None else checked_limits(_check_mapping(value)),
    _parse_mapping,
)

# -- addresses of Redis servers --


def _check_host(value: Any) -> str | None:
    host: str | None = TEXT_OR_NONE.check(value)
    if host is not None and any(sign in host for sign in "/@?# "):
        raise UsageError(f"its value is not {_HOST}")
    return host


_HOST = "a host name or address only; set user and password separately"
HOST_OR_NONE = Kind(_HOST, _check_host)


def _check_addresses(value: Any) -> tuple[tuple[str, int], ...]:
    several = split(value) if isinstance(value, str) else value
    found = [_address(each) for each in several] if isinstance(several, Sequence) else [None]
    made = tuple(each for each in found if each is not None)
    if len(made) < len(found):
        raise wrong(value, _ADDRESSES)
    return made


def _address(value: Any) -> tuple[str, int] | None:
    try:
        host, port = value.rsplit(":", 1) if isinstance(value, str) else value
        scheme, separator, name = str(host).rpartition("://")
        if separator and scheme not in ("redis", "rediss"):
            return None
        return f"{scheme}{separator}{_check_host(name)}", int(port)
    except (TypeError, ValueError):  # e.g. a URL: the error message may contain a password
        return None


_ADDRESSES = "a list of (host, port) or host:port (rediss://host:port for TLS), without a login"
ADDRESSES = Kind(_ADDRESSES, _check_addresses, split)

# -- log levels, including the names of syslog, which ActionHero uses --

LEVELS = ("debug", "info", "warning", "error", "critical")
_OTHER_NAMES = {
    "warn": "warning", "notice": "info", "crit": "critical", "alert": "critical",
    "emerg": "critical", "fatal": "critical",
}  # fmt: skip


def _check_level(value: Any) -> str:
    word = str(value).lower() if isinstance(value, str) else ""
    word = _OTHER_NAMES.get(word, word)
    if word not in LEVELS:
        raise UsageError(
            f"{value!r} is not a log level ({', '.join(LEVELS)}){near_match(str(value), LEVELS)}"
        )
    return word


LEVEL = Kind("a log level", _check_level)


def _check_event_level(value: Any) -> str | None:
    if value is None or value is False or value in ("off", "none"):
        return None
    return _check_level(value)


EVENT_LEVEL = Kind("a log level, or None for no line", _check_event_level)

# -- replaceable parts --


def _check_part(value: Any) -> Any:
    if value is None or callable(value) or (isinstance(value, str) and value):
        return value or None
    raise wrong(value, "a class, a factory, a dotted path or None")


PART = Kind("a dotted path, a class, a factory or None", _check_part)


# How a section of the config is declared: a frozen dataclass whose fields have type and description.


@dataclass(frozen=True, slots=True)
class Historic:
    """An equivalent environment variable of Resque, ActionHero or Heroku.

    Attributes:
        convert: converts its text to our unit (seconds become milliseconds); None for "not set".
    """

    name: str
    convert: Callable[[str], str | None] = str


@dataclass(frozen=True, slots=True)
class Option:
    """A setting.

    Attributes:
        path: `timeout`, `worker_logging.failure`; below the name of its section.
        default: the value if nothing sets it.
        words: its description.
        historic: older names of its environment variable; the first that is set counts.
        secret: must not be shown.
        source: the engine's options that declare it, and its name there.
    """

    path: str
    kind: Kind
    default: Any
    words: str
    historic: tuple[Historic, ...] = ()
    secret: bool = False
    source: tuple[type, str] | None = None

    def checked(self, value: Any) -> Any:
        """The checked value from a config file or a flag.

        Raises:
            UsageError: it is invalid; a secret one is not quoted.
        """
        return self._told(lambda: self.kind.check(value))

    def parsed(self, text: str) -> Any:
        """The same from text.

        Raises:
            UsageError: as `checked`.
        """
        return self._told(lambda: self.kind.check(self.kind.parse(text)))

    def _told(self, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except UsageError:
            if not self.secret:
                raise
        raise UsageError(f"its value is not {self.kind.words}")


def option(
    default: Any,
    kind: Kind,
    words: str,
    *historic: str | Historic,
    secret: bool = False,
    source: tuple[type, str] | None = None,
) -> Any:
    """A field of a section."""
    older = tuple(Historic(each) if isinstance(each, str) else each for each in historic)
    entry = {
        "kind": kind,
        "words": words,
        "historic": older,
        "secret": secret,
        "default": default,
        "source": source,
    }
    return field(  # a dict can't be a plain default
        default_factory=lambda: default, metadata=entry, repr=not secret
    )


def same(options: type, name: str, kind: Kind, *historic: str | Historic) -> Any:
    """A field that the engine's options declare; seconds there are milliseconds here."""
    declared = next(each for each in fields(options) if each.name == name)
    default: Any = declared.default
    if name.endswith("_s"):
        default = round(default * 1000)
    return option(default, kind, declared.metadata["words"], *historic, source=(options, name))


def part(section: type) -> Any:
    """A field that is a group of settings."""
    return field(default_factory=section, metadata={"part": section})


def options_of(section: type, prefix: str = "") -> Iterator[Option]:
    """All settings of a section, including groups."""
    for each in fields(section):
        if "part" in each.metadata:
            yield from options_of(each.metadata["part"], f"{prefix}{each.name}.")
        else:
            yield _option(each, prefix)


def _option(declared: Field[Any], prefix: str) -> Option:
    return Option(path=f"{prefix}{declared.name}", **declared.metadata)


def build(section: type, values: Mapping[str, Any], prefix: str = "") -> Any:
    """A section from checked values by path."""
    given = {}
    for each in fields(section):
        path = f"{prefix}{each.name}"
        if "part" in each.metadata:
            given[each.name] = build(each.metadata["part"], values, f"{path}.")
        elif path in values:
            given[each.name] = values[path]
    return section(**given)


def seconds(text: str) -> str:
    """Convert Resque's seconds to our unit; a text may also have a unit."""
    return text if text.strip()[-1:].isalpha() else f"{text.strip()}s"
