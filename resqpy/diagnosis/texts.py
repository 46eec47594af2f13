"""Numbers, names, times and values as text for people; times in their zone and in UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from shlex import quote
from typing import Any

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.codec import encode_text
from resqpy.base.errors import printable_json
from resqpy.base.masking import Redaction

_CALENDAR = range(-62_000_000_000_000, 253_000_000_000_000)  # ms: the years 5 to 9987
_UNITS = ((31_536_000, "y"), (86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_NAMED = 5


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 job`, `2 jobs`, `10,000 jobs`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def named(names: Sequence[str], most: int = _NAMED) -> str:
    """`a, b, c`; if there are many, the first ones: `a, b and 7 more`."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def argument(name: str) -> str:
    """A name as the last argument of a command that somebody may copy into a shell, whatever is in it: one that
    looks like an option, or that a terminal would not show.
    """
    shown = quote(name) if name.isprintable() else f"\"$(printf '{_escaped(name)}')\""
    return f"-- {shown}" if name.startswith("-") else shown


def _escaped(text: str) -> str:
    return "".join(
        each if each.isprintable() and each not in "-'%\\" else _octal(each) for each in text
    )


def _octal(character: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogateescape"))


def local(ms: int | None) -> str:
    """`2026-11-21 05:12:03 CET (04:12:03 UTC)`; once if both are the same."""
    utc = _moment(ms)
    if utc is None:
        return "-"
    here = utc.astimezone()
    shown = f"{here:%Y-%m-%d %H:%M:%S %Z}"
    if here.utcoffset() == utc.utcoffset():
        return f"{utc:%Y-%m-%d %H:%M:%S} UTC"
    day = "" if here.date() == utc.date() else f"{utc:%m-%d} "
    return f"{shown} ({day}{utc:%H:%M:%S} UTC)"


def iso(ms: int | None) -> str | None:
    """ISO 8601 in UTC, for programs."""
    utc = _moment(ms)
    return None if utc is None else utc.isoformat()


def _moment(ms: int | None) -> datetime | None:
    """None for a year outside the calendar, which somebody wrote by mistake."""
    return None if ms is None or ms not in _CALENDAR else datetime.fromtimestamp(ms / 1000, UTC)


def distance(ms: int | None, now_ms: int | None = None) -> str:
    """`in 5 m`, `3 h ago`."""
    if ms is None:
        return "-"
    now_ms = SYSTEM_CLOCK.now_ms() if now_ms is None else now_ms
    shown = duration(abs(ms - now_ms))
    return f"in {shown}" if ms > now_ms else f"{shown} ago"


def duration(ms: float) -> str:
    """`350 ms`, `5 s`, `2 h 10 m`: the two largest units."""
    if ms < 1000:
        return f"{ms:.0f} ms"
    left, parts = int(ms / 1000), list[str]()
    for seconds, unit in _UNITS:
        count, left = divmod(left, seconds)
        if count or parts:
            parts.append(f"{count} {unit}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(filter(None, parts))


def compact(value: Any, redaction: Redaction) -> str:
    """Arguments and the like as one line of JSON, with secrets hidden."""
    made = encode_text(_plain(value, redaction)).decode("utf-8", "surrogateescape")
    return printable_json(made)


def _plain(value: Any, redact: Redaction) -> Any:
    """A JSON value; others are shown as text."""
    if isinstance(value, Mapping):
        return {
            str(key).encode("utf-8", "replace").decode(): _plain(each, redact)
            for key, each in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(each, redact) for each in value]
    if isinstance(value, str):
        return redact.text(value).encode("utf-8", "replace").decode()
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    return str(value)


def ms_of(moment: datetime | None) -> int | None:
    """Milliseconds since the epoch."""
    return None if moment is None else int(moment.timestamp() * 1000)
