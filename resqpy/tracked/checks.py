"""What users say of a task: its id, its payload, and the words by which it is found. Pure."""

from __future__ import annotations

import re
import secrets
from typing import Any

from resqpy.base import codec
from resqpy.base.errors import InvalidJob, UsageError

_MOST = codec.MAX_PAYLOAD - 2048  # bytes; its job has class, queue and id as well
_SIGNS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_SIGN_OF = bytes(_SIGNS[byte % len(_SIGNS)] for byte in range(256))
_LENGTH = 16  # of 62 signs: 95 bits, though the first eight come a little more often
_SHOWN = 210
_ALLOWED = re.compile(r"[\w.:@/+=~-]{1,200}", re.ASCII)


def check_word(what: str, value: object) -> str:
    """The word, if it can be one.

    Raises:
        UsageError: it is no text, empty, or can't be written.
    """
    if not _is_word(value):
        raise UsageError(f"{what}: {value!r} is no name; pass a text, or leave it out")
    return str(value)


def word_or_none(what: str, value: object) -> str | None:
    """The same, where it may be left out."""
    return None if value is None else check_word(what, value)


def check_tags(tags: object) -> tuple[str, ...]:
    """The tags, each once, in their order.

    Raises:
        UsageError: they are no list of words.
    """
    if not isinstance(tags, list | tuple | set | frozenset):
        example = [tags] if isinstance(tags, str) else ["urgent"]
        raise UsageError(f"tags: {tags!r} is no list of words; use {example!r}")
    if wrong := [tag for tag in tags if not _is_word(tag)]:
        raise UsageError(f"tags: {wrong[0]!r} is no word")
    return tuple(dict.fromkeys(tags))


def _is_word(value: object) -> bool:
    return isinstance(value, str) and value != "" and codec.is_utf8(value)


def new_task_id() -> str:
    """An id that nobody has."""
    return secrets.token_bytes(_LENGTH).translate(_SIGN_OF).decode()


def check_task_id(value: object) -> str:
    """The id, if it can be one.

    Raises:
        UsageError: with what is allowed.
    """
    if isinstance(value, str) and _ALLOWED.fullmatch(value):
        return value
    raise UsageError(
        f"task id {repr(value)[:_SHOWN]}: 1 to 200 letters, digits and . _ : @ / + = ~ - are an id; "
        "leave it out to get one"
    )


def sought_task_id(value: object) -> str:
    """What may be looked for as an id; whether there is such a task is another question.

    Raises:
        UsageError: it is no text.
    """
    if isinstance(value, str) and value and value.isprintable():
        return value
    raise UsageError(f"task id {value!r}: the text that `create` gave is meant")


def payload_text(payload: Any) -> str:
    """The JSON text of a payload.

    Raises:
        InvalidJob: it is no JSON object, or too large for a job that a worker would take.
    """
    text = codec.encode_object(payload)
    if (size := len(text.encode())) > _MOST:
        raise InvalidJob(
            f"payload: {size} bytes; the most is {_MOST}; store the data elsewhere, and let the task "
            "have where it is"
        )
    return text
