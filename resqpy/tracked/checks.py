"""Validation of what users specify for a task: id, payload and search terms. Pure."""

from __future__ import annotations

import re
import secrets
from typing import Any

from resqpy.base import codec
from resqpy.base.errors import InvalidJob, UsageError

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
