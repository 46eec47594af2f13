"""Reading the times that Ruby, Node and Python leave in Redis (wire document, section 3)."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

# Abbreviations that Ruby appends to local times. Ambiguous ones (IST; CST in China) are not guessed: the
# machine's own zone is tried first, then the one that the mail standard defines.
_ZONES = {
    "UTC": 0, "GMT": 0, "UT": 0, "Z": 0, "WET": 0, "WEST": 1, "BST": 1, "CET": 1, "CEST": 2,
    "MEZ": 1, "MESZ": 2, "EET": 2, "EEST": 3, "MSK": 3, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5,
    "MST": -7, "MDT": -6, "PST": -8, "PDT": -7, "AKST": -9, "AKDT": -8, "HST": -10, "JST": 9,
    "KST": 9, "AWST": 8, "AEST": 10, "AEDT": 11, "NZST": 12, "NZDT": 13,
}  # fmt: skip

# 2026-11-21T00:27:20.5Z · 2026-11-20 19:27:20 -0500 · 2026/11/20 19:27:20 EST
_NUMERIC = re.compile(
    r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})[T ](\d{2}):(\d{2}):(\d{2})(?:[.,](\d+))?\s*(.*)"
)
# Fri Nov 20 2026 19:27:20 GMT-0500 (Eastern Standard Time)
_JAVASCRIPT = re.compile(
    r"\w{3} (\w{3}) (\d{1,2}) (\d{4}) (\d{2}):(\d{2}):(\d{2})()\s*(?:GMT)?(.*)"
)
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_OFFSET = re.compile(r"([+-])(\d{2}):?(\d{2})?")


LATEST_MS = 220_000_000_000_000  # in the 90th century, near datetime's limit


def noted_ms(text: str | bytes) -> int | None:
    """Milliseconds since the epoch, as we store them; None for anything else."""
    try:
        ms = float(text)
    except ValueError:
        return None
    return int(ms) if 0 <= ms < LATEST_MS and ms.is_integer() else None


def moment_of(value: object) -> int | None:
    """Milliseconds since the epoch of a time in any of the formats; None if it is none.

    A bare number is seconds (Node's `started`). A time without zone is UTC.
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return int(value * 1000) if 0 <= value < 10**11 else None
    if not isinstance(value, str):
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return int(text) * 1000 if len(text) < 12 else None
    try:
        return _parse(text, time.tzname)
    except (ValueError, OverflowError):
        return None


@lru_cache(maxsize=1024)  # jobs that fail in the same second share it
def _parse(text: str, _zones: tuple[str, str]) -> int | None:
    if match := _NUMERIC.fullmatch(text):
        year, month, day, *rest = match.groups()
        return _moment((year, month, day), rest)
    if match := _JAVASCRIPT.fullmatch(text):
        name, day, year, *rest = match.groups()
        return _moment((year, str(_MONTHS.index(name) + 1), day), rest)
    return None


def _moment(date: tuple[str, str, str], rest: list[str]) -> int | None:
    hour, minute, second, fraction, zone = rest
    offset = _zone(zone.strip())
    if offset is None:
        return None
    year, month, day = map(int, date)
    local = datetime(year, month, day, int(hour), int(minute), int(second), tzinfo=offset)
    return int(local.timestamp()) * 1000 + int((fraction or "0").ljust(3, "0")[:3])


def _zone(text: str) -> timezone | None:
    if not text:
        return UTC
    if match := _OFFSET.match(text):
        sign, hours, minutes = match.groups()
        offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
        return timezone(-offset if sign == "-" else offset)
    if text in time.tzname:
        return timezone(timedelta(seconds=-(time.altzone if _is_summer(text) else time.timezone)))
    return timezone(timedelta(hours=_ZONES[text])) if text in _ZONES else None


def _is_summer(name: str) -> bool:
    return time.tzname[0] != name
