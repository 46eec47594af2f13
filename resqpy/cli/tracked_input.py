"""What is said of a tracked task on the command line, as `Tracked.create` takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from resqpy.base import codec
from resqpy.base.errors import UsageError
from resqpy.base.when import parse_duration
from resqpy.cli.option_types import json_or_text, read_pairs
from resqpy.tracked.creating import CreateOptions

_FOR_EVER = ("forever", "ever", "none")


def read_payload(words: Sequence[str]) -> dict[str, Any]:
    """A payload from one JSON object, or from `name=value` words, whose values are JSON or text."""
    if len(words) == 1 and words[0].lstrip().startswith("{"):
        return _object(words[0])
    pairs = read_pairs(words, 'NAME=VALUE, nor a JSON object such as \'{"to": "a@b.c"}\'')
    return {name: json_or_text(value) for name, value in pairs.items()}


def _object(text: str) -> dict[str, Any]:
    try:
        value = codec.decode_text(text)
    except ValueError as error:
        raise click.UsageError(f"the payload is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise click.UsageError("the payload is no JSON object")
    return value


def create_options(given: Mapping[str, Any]) -> CreateOptions:
    """The options of `create` from what was said; what was not said is left out."""
    said = {name: value for name, value in given.items() if value not in (None, (), "")}
    made: dict[str, Any] = {}
    for name, value in said.items():
        read = _READERS.get(name)
        made["id" if name == "id_" else name] = value if read is None else read(name, value)
    options: CreateOptions = {}
    options.update(made)  # type: ignore[typeddict-item]  # its names are those of the options
    return options


def _duration(name: str, text: str) -> int:
    try:
        return parse_duration(text)
    except UsageError as error:
        raise click.UsageError(f"--{name.replace('_', '-')}: {error}") from error


def _moment(name: str, text: str) -> datetime | int:
    if text.isdigit():
        return int(text)
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError(f"--{name}: {text!r} is no time: {error}") from error


def _interval(name: str, text: str) -> int | str:
    """A duration is one word, a cron expression has several, or begins with `@`."""
    return text if " " in text.strip() or text.startswith("@") else _duration(name, text)


def _times(name: str, text: str) -> int | None:
    if text in _FOR_EVER:
        return None
    if not text.isdigit():
        raise click.UsageError(f"--{name}: {text!r} is no number, and not `forever`")
    return int(text)


def _retention(name: str, text: str) -> int | None:
    return None if text in _FOR_EVER else _duration(name, text)


_READERS = {
    "start": _moment,
    "end": _moment,
    "delay": _duration,
    "interval": _interval,
    "retries": _times,
    "backoff": _duration,
    "retain_for": _retention,
    "lock_duration": _duration,
    "longest_execution": _duration,
}
