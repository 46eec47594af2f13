"""Times and durations as people give them and read them: in their zone, and in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.errors import UsageError
from resqpy.base.when import parse_duration

_CALENDAR = range(-62_000_000_000_000, 253_000_000_000_000)  # ms: the years 5 to 9987
_UNITS = ((31_536_000, "y"), (86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def local(ms: int | None) -> str:
    """`2026-11-21 05:12:03 CET (04:12:03 UTC)`; where both are the same, once."""
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
    """None also for a year that no calendar has: a number that somebody wrote by mistake."""
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


class Moment(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.3
    """A time: ISO 8601 (without a zone: the local one), `now`, `+1d`, `-2h`, or milliseconds since the
    epoch.
    """

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime | int:
        text = str(value).strip()
        if text.isdigit():
            return int(text)
        if (from_now_ms := _from_now(text)) is not None:
            return SYSTEM_CLOCK.now_ms() + from_now_ms
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            self.fail(
                f"{text!r} is no time; give one such as 2030-01-31T12:00, …+01:00, now, +1d or -2h",
                param,
                ctx,
            )
        return found if found.tzinfo else found.astimezone()


class Span(click.ParamType):  # type: ignore[type-arg]  # as above
    """Times from one on and before another, `-1d..now`; either may be left out."""

    name = "span"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[datetime | int | None, datetime | int | None]:
        since, dots, until = str(value).partition("..")
        if not dots or not (since.strip() or until.strip()):
            self.fail(
                f"{value!r} is no FROM..TO; give one such as -1d..now, or 2030-01-31..", param, ctx
            )
        read = Moment()
        first, last = (
            read.convert(each, param, ctx) if each.strip() else None for each in (since, until)
        )
        return first, last


def _from_now(text: str) -> int | None:
    """Milliseconds of `now`, `+1d`, `-2h`; None: it is nothing of the kind."""
    if text.lower() == "now":
        return 0
    sign = {"+": 1, "-": -1}.get(text[:1])
    try:
        return None if sign is None else sign * parse_duration(text[1:])
    except UsageError:
        return None


class Milliseconds(click.ParamType):  # type: ignore[type-arg]  # as above
    """A duration: `5s`, `10m`, `2h`, `+1d`, or milliseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return parse_duration(str(value).strip().removeprefix("+"))
        except UsageError as error:
            self.fail(str(error), param, ctx)
