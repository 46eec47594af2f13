"""What php-resque keeps beside a job: a status that its `enqueue(…, true)` makes, and others read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from resqpy.base.errors import UsageError
from resqpy.base.json_forms import to_json
from resqpy.base.json_rules import explain

WAITING, RUNNING, FAILED, COMPLETE = 1, 2, 3, 4
KEPT_S = 86_400  # after the end, as php-resque does
_MOST = 10_000  # letters of a result


_STARTED = re.compile(
    rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d|[A-Z][a-z]{2} [A-Z][a-z]{2} \d\d [\d:]{8} \S+ \d{4}"
).fullmatch


def started_in_php(started: bytes | None) -> bool:
    """Whether a worker without heartbeat and ping is one of php-resque: no other writes its start like this."""
    return started is not None and _STARTED(started) is not None


class PhpStatus(NamedTuple):
    """Where the status of a job is, if there is one.

    Attributes:
        name: what stands between `job:` and `:status` in its key.
        started: when the job was enqueued, in seconds since the epoch: php-resque calls it so.
    """

    name: str
    started: int

    def told(self, status: int, now_ms: int, result: Any = None) -> dict[str, Any]:
        """The value of the key.

        Args:
            result: left out if JSON has no such value, or it is large.
        """
        try:
            kept = to_json(result)
            fine = explain(kept) is None and len(repr(kept)) <= _MOST
        except (UsageError, RecursionError):
            kept, fine = None, False
        shown = kept if fine else None
        updated = now_ms // 1000
        return {"status": status, "updated": updated, "started": self.started, "result": shown}


def php_status(extra: Mapping[str, Any]) -> PhpStatus | None:
    """The status of a job with these additional keys; None: it is not PHP's."""
    name, prefix, since = extra.get("id"), extra.get("prefix"), extra.get("queue_time")
    if not name or not isinstance(name, str) or not isinstance(since, int | float):
        return None
    return PhpStatus(f"{prefix}_{name}" if prefix and isinstance(prefix, str) else name, int(since))
