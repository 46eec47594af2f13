"""The text of a tracked task's payload, as its record and its job have it."""

from __future__ import annotations

from typing import Any

from resqpy.base import codec
from resqpy.base.errors import InvalidJob

_MOST = codec.MAX_PAYLOAD - 2048  # bytes; its job has class, queue and id as well


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
