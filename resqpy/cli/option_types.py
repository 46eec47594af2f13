"""The types of options and arguments: times, durations, JSON, and pairs."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import click

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.errors import UsageError
from resqpy.base.when import parse_duration


class WithUnit(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.3
    """A duration that must say its unit: Resque's INTERVAL is in seconds, our config in milliseconds."""

    name = "duration"
    _BARE = re.compile(r"\d+(\.\d+)?")

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | None:
        text = str(value).strip()
        if self._BARE.fullmatch(text) and text.strip("0."):
            self.fail(f"{text} has no unit; say {text}s or {text}ms", param, ctx)
        return text


class Pairs(click.ParamType):  # type: ignore[type-arg]  # as above
    """`name:type`, as `generate task --input` takes it."""

    name = "name:type"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, _, kind = str(value).partition(":")
        if not name.isidentifier():
            self.fail(f"{name!r} is no name of a parameter", param, ctx)
        return name, kind or "str"


class Moment(click.ParamType):  # type: ignore[type-arg]  # as above
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


class Json(click.ParamType):  # type: ignore[type-arg]  # as above
    """A JSON text: an object or a list; `-` reads it from standard input."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from resqpy.base.codec import decode_text

        if not isinstance(value, str):
            return value
        if value == "-":
            value = sys.stdin.read()
        try:
            found = decode_text(value)
        except ValueError as error:
            self.fail(f"this is no JSON: {error} (in a shell: '{{\"name\": 1}}')", param, ctx)
        if not isinstance(found, (dict, list)):
            self.fail(f"{value} is neither an object nor a list", param, ctx)
        return found


def read_pairs(words: Sequence[str], form: str, known: Iterable[str] = ()) -> dict[str, str]:
    """The values by their keys.

    Args:
        form: what a word should be, for who wrote another.
        known: keys that were given in another way.

    Raises:
        click.UsageError: a word is no pair, or a key is given twice.
    """
    taken, found = set(known), dict[str, str]()
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{word!r} is not {form}")
        if key in taken:
            raise click.UsageError(f"{key!r} is given twice")
        taken.add(key)
        found[key] = value
    return found


def json_or_text(text: str) -> Any:
    """What a word says as JSON; the word itself where it is none."""
    from resqpy.base.codec import decode_text

    try:
        return decode_text(text)
    except ValueError:
        return text
