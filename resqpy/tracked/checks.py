"""Validation of what users specify for a task: id, payload and search terms. Pure."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field, replace
from typing import Any

from resqpy.base import codec
from resqpy.base.errors import InvalidJob, UnknownOption, UsageError
from resqpy.base.imports import near_match
from resqpy.base.when import Backoff
from resqpy.engine.definition import Definition
from resqpy.engine.lifecycle import RetryPolicy
from resqpy.tracked.record import LOCK_MS, Record, Retries, but

_MAXIMUM = codec.MAX_PAYLOAD - 2048  # bytes; its job also has class, queue and id
_SIGNS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_SIGN_OF = bytes(_SIGNS[byte % len(_SIGNS)] for byte in range(256))
_LENGTH = 16  # of 62 signs: 95 bits, though the first eight come a little more often
_SHOWN = 210
_ALLOWED = re.compile(r"[\w.:@/+=~-]{1,200}", re.ASCII)


def check_word(what: str, value: object) -> str:
    """The value, if it is valid.

    Raises:
        UsageError: it is not text, empty, or can't be encoded.
    """
    if not _is_word(value):
        raise UsageError(f"{what}: {value!r} is not a name; pass a text, or leave it out")
    return str(value)


def word_or_none(what: str, value: object) -> str | None:
    """The same, but None is allowed."""
    return None if value is None else check_word(what, value)


def check_tags(tags: object) -> tuple[str, ...]:
    """The tags without duplicates, in order.

    Raises:
        UsageError: they are not a list of texts.
    """
    if not isinstance(tags, list | tuple | set | frozenset):
        example = [tags] if isinstance(tags, str) else ["urgent"]
        raise UsageError(f"tags: {tags!r} is not a list of texts; use {example!r}")
    if wrong := [tag for tag in tags if not _is_word(tag)]:
        raise UsageError(f"tags: {wrong[0]!r} is not a valid tag")
    return tuple(dict.fromkeys(tags))


def _is_word(value: object) -> bool:
    return isinstance(value, str) and value != "" and codec.is_utf8(value)


def new_task_id() -> str:
    """A new unique id."""
    return secrets.token_bytes(_LENGTH).translate(_SIGN_OF).decode()


def check_task_id(value: object) -> str:
    """The id, if it is valid.

    Raises:
        UsageError: says what is allowed.
    """
    if isinstance(value, str) and _ALLOWED.fullmatch(value):
        return value
    raise UsageError(
        f"task id {repr(value)[:_SHOWN]}: an id has 1 to 200 letters, digits and . _ : @ / + = ~ -; leave it "
        "out to get one"
    )


def sought_task_id(value: object) -> str:
    """An id to search for; whether such a task exists is another question.

    Raises:
        UsageError: it is not text.
    """
    if isinstance(value, str) and value and value.isprintable():
        return value
    raise UsageError(f"task id {value!r}: expected the text that `create` returned")


def payload_text(payload: Any) -> str:
    """The JSON text of a payload.

    Raises:
        InvalidJob: it is not a JSON object, or too large for a job that a worker accepts.
    """
    text = codec.encode_object(payload)
    if (size := len(text.encode())) > _MAXIMUM:
        raise InvalidJob(
            f"payload: {size} bytes; the limit is {_MAXIMUM}; store the data elsewhere, and put a reference to it "
            "into the payload"
        )
    return text


# The defaults for tracked tasks: one preset per system.
#
# | | irontask | extra_horizon | twin |
# |---|---|---|---|
# | retries | 4 | 0 | unlimited |
# | wait | 1 s, then 3.5 times as long each | 1 s, then twice as long each | 5 s |
# | a retry is | the same task again | a new task | the same task again |
# | record kept | forever | forever | not at all |
# | longest execution | 30 minutes | no limit | no limit |
# | lock | 30 s | 30 s | 30 s |

HALF_AN_HOUR_MS = 30 * 60_000


@dataclass(frozen=True, slots=True)
class TaskDefaults:
    """Defaults for options that `create` omits; see `Record` for their meaning."""

    retries: Retries = field(default_factory=Retries)
    retain_ms: int | None = None
    lock_ms: int = LOCK_MS
    longest_ms: int | None = HALF_AN_HOUR_MS
    priority: int = 0
    ends_after_ms: int | None = None  # from its start, if it does not recur


PRESETS = {
    "irontask": TaskDefaults(),
    "extra_horizon": TaskDefaults(Retries(0, Backoff(1000, 2.0), linked=True), longest_ms=None),
    "twin": TaskDefaults(Retries(None, Backoff.fixed(5000)), retain_ms=0, longest_ms=None),
}


def preset(name: str) -> TaskDefaults:
    """The defaults of one system.

    Raises:
        UnknownOption: there is no such preset; with the nearest name.
    """
    if name not in PRESETS:
        known = ", ".join(PRESETS)
        raise UnknownOption(f"preset {name!r} is unknown{near_match(name, PRESETS)} ({known})")
    return PRESETS[name]


def defaults_of(definition: Definition | None, defaults: TaskDefaults) -> TaskDefaults:
    """The defaults for a new task.

    Args:
        definition: None: it is unknown here, so the worker applies its policy.
        defaults: a preset's.
    """
    if definition is None:
        return defaults
    retries = defaults.retries
    for plugin in definition.plugins:
        if (policy := plugin.retries()) is not None:
            retries = _filled(retries, policy)
    once = retries.at_most_once or definition.at_most_once
    ends_after_ms = min((ms for _, ms in definition.ends), default=None)
    retries = replace(retries, at_most_once=once)
    return replace(defaults, retries=retries, ends_after_ms=ends_after_ms)


def with_policy(record: Record, policy: RetryPolicy) -> Record:
    """A record with the task's own policy for everything that its creator left open."""
    if record.retries.at_most_once:
        return record
    filled = _filled(record.retries, policy)
    return record if filled == record.retries else but(record, retries=filled)


def _filled(retries: Retries, policy: RetryPolicy) -> Retries:
    most = retries.most if "retries" in retries.said else policy.most
    backoff = retries.backoff if "backoff" in retries.said else policy.backoff
    return replace(retries, most=most, backoff=backoff)
