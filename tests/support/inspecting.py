"""What the tests of the read side share: made-up entries, and a count of round trips."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from resqpy.store.connection.client import Store


def dumps(value: Any) -> bytes:
    """Compact JSON, as everybody writes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def failed_entry(job: bytes | None = None, **changes: Any) -> bytes:
    """A failed entry as Ruby writes it, with a job's exact text in it."""
    job = job or b'{"class":"Boom","args":[1]}'
    entry: dict[str, Any] = {
        "failed_at": "2026/11/21 00:27:20 UTC", "payload": "JOB", "exception": "Error",
        "error": "boom", "backtrace": [], "worker": "h:1:q", "queue": "q",
    }  # fmt: skip
    return dumps(entry | changes).replace(b'"JOB"', job)


@contextmanager
def round_trips(store: Store, expected: int) -> Iterator[None]:
    """Check how many round trips a block costs."""
    before = store.line.round_trips
    yield
    assert store.line.round_trips - before == expected
