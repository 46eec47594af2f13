"""Which Redis. With no url and no host, resqpy starts one of its own for this folder (.resqpy/).

REDIS_URL (or RESQPY_REDIS_URL) wins over what stands here.
"""

from __future__ import annotations

from typing import Any


def default() -> dict[str, Any]:
    """For all environments."""
    return {
        # For a Redis of your own, give its "url", such as "redis://127.0.0.1:6379/0".
        # Prefix of every Redis key. Ruby and Node workers beside us need the same.
        "namespace": "resque",
    }
