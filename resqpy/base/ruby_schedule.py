"""Schedules of resque-scheduler in `persistent_schedules`: read, checked, written.

Format: resque-scheduler 5's `scheduling_extensions.rb` and `scheduler.rb` (wire document, 2.5).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resqpy.base import codec
from resqpy.base.clock import iso_utc
from resqpy.base.cron.cron import CronSchedule
from resqpy.base.cron.rufus import (
    Every,
    other_options,
    parse_cron_entry,
    parse_every_entry,
    why_not_rufus,
)
from resqpy.base.errors import UsageError
from resqpy.base.json_check import read_strict
from resqpy.base.keys import check_queue_name
from resqpy.base.members import member_text


class InvalidSchedule(UsageError):
    """A Ruby schedule can't be run, or must not be written."""


@dataclass(frozen=True, slots=True)
class RubySchedule:
    """A schedule shared with Ruby's clients and schedulers.

    Attributes:
        raw: the entry itself.
        class_name: the job's class: `custom_job_class` if given, else `class`.
        queue: None: that of the class.
        args: the job's arguments as JSON, in the exact text of the entry.
        environments: in which it runs; None: in all.
        timing: its timing, for people.
        digest: detects changes of the entry.
        other: names of rufus options that are not supported here.
    """

    name: str
    raw: bytes
    class_name: str
    queue: str | None
    args: bytes
    cron: CronSchedule | None
    every: Every | None
    environments: tuple[str, ...] | None
    timing: str
    digest: str
    other: tuple[str, ...] = ()

    @property
    def job(self) -> bytes:
        """The job, as Ruby's `Resque::Job.create` writes it: without its queue."""
        return b'{"class":' + codec.encode_text(self.class_name) + b',"args":' + self.args + b"}"

    @property
    def arguments(self) -> list[Any]:
        """The job's arguments."""
        found: list[Any] = codec.decode_text(self.args)
        return found

    def runs_in(self, environment: str | None) -> bool:
        """Whether it runs in an environment (RAILS_ENV)."""
        return self.environments is None or environment in self.environments


def parse(name: str, raw: bytes, zone: str | None = None) -> RubySchedule:
    """Read an entry.

    Args:
        zone: of a cron expression that names none.

    Raises:
        UsageError: what is wrong with it; a Ruby scheduler may crash on it.
    """
    try:
        entry = read_strict(raw)
    except ValueError as error:
        raise InvalidSchedule(f"it is not JSON that Ruby can read: {error}") from error
    if not isinstance(entry, dict):
        raise InvalidSchedule(f"it must be an object, got {type(entry).__name__}")
    cron, every = entry.get("cron") or None, entry.get("every") or None
    if cron is None and every is None:
        raise InvalidSchedule("it has neither `cron` nor `every`")
    return RubySchedule(
        name=name,
        raw=raw,
        class_name=_class_of(entry),
        queue=_text(entry, "queue"),
        args=_args(raw, entry),
        cron=None if cron is None else parse_cron_entry(cron, zone),
        every=None if cron is not None else parse_every_entry(every, zone),
        other=other_options(every if cron is None else cron),
        environments=_environments(entry),
        timing=_timing(cron, every),
        digest=codec.digest(raw)[:12],
    )


def _class_of(entry: Mapping[str, Any]) -> str:
    """Ruby enqueues this class if it can't load the custom one; here none can be loaded."""
    custom = entry.get("custom_job_class")
    name = custom if custom and custom != "Resque::Job" else entry.get("class")
    if not isinstance(name, str) or not name:
        raise InvalidSchedule(f"its `class` must be a class name, got {name!r}")
    return name


def _text(entry: Mapping[str, Any], key: str) -> str | None:
    value = entry.get(key)
    if value is None or (isinstance(value, str) and value):
        return value
    raise InvalidSchedule(f"its `{key}` must be text, got {value!r}")


def _args(raw: bytes, entry: Mapping[str, Any]) -> bytes:
    """A value that is not a list is the only argument; null means none (Ruby's `Array(args)`)."""
    args = entry.get("args")
    if args is None:
        return b"[]"
    text = member_text(raw, "args") or codec.encode_text(args)
    return text if isinstance(args, list) else b"[" + text + b"]"


def _environments(entry: Mapping[str, Any]) -> tuple[str, ...] | None:
    text = _text(entry, "rails_env") or _text(entry, "env")
    return None if text is None else tuple(re.split(r"[\s,]+", text))


def _timing(cron: object, every: object) -> str:
    shown = every if cron is None else cron
    words = shown if isinstance(shown, str) else codec.encode_text(shown).decode()
    return f"every {words}" if cron is None else words


def encode(name: str, config: Mapping[str, Any]) -> bytes:
    """The text of an entry that is safe for every Ruby scheduler.

    Raises:
        InvalidSchedule: it would crash Ruby's schedulers, or mean something else there.
    """
    entry = {key: value for key, value in config.items() if key != "persist"}
    entry.setdefault("class", name)
    if why := why_not_rufus(entry):
        raise InvalidSchedule(
            f"schedule {name!r} was not written, because Ruby's schedulers can't handle it: {why}"
        )
    if entry.get("queue") is not None:
        check_queue_name(entry["queue"])
    text = codec.encode_object(entry, f"schedule {name!r}").encode()
    try:
        parse(name, text)
    except UsageError as error:
        raise InvalidSchedule(f"schedule {name!r}: {error}") from error
    return text


def ruby_time(ms: int) -> str:
    """A time as Ruby's `Time#to_s` formats it, in UTC: `2026-11-21 00:37:16 +0000`."""
    return f"{iso_utc(ms * 1000)[:19].replace('T', ' ')} +0000"
