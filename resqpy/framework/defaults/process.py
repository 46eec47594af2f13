"""`config/process.py`: the life of a process of workers."""

from __future__ import annotations

from dataclasses import dataclass

from resqpy.framework.kinds import (
    FILE_OR_NONE,
    FLAG,
    PORT_OR_NONE,
    SIZE_OR_NONE,
    TEXT,
    choice,
    whole,
)
from resqpy.framework.options import Historic, option


def _zero_means_burst(text: str) -> str | None:
    """INTERVAL=0 is Resque's way to say: work until the queues are empty."""
    return None if text.strip("0. ") else "1"


def _count(text: str) -> str | None:
    """`0` is no number of processes; Resque's rake task refuses it too."""
    return text.strip() or None


@dataclass(frozen=True, kw_only=True)
class ProcessConfig:
    """A process of workers."""

    processes: int = option(
        1,
        whole(1, "a whole number above 0"),
        "How many processes `resqpy worker` runs and supervises.",
        Historic("COUNT", _count),
    )
    pidfile: str | None = option(None, FILE_OR_NONE, "Where to write the process id.", "PIDFILE")
    daemon: bool = option(False, FLAG, "Whether to go to the background.", "BACKGROUND")
    burst: bool = option(
        False,
        FLAG,
        "Whether to stop when the queues are empty.",
        Historic("INTERVAL", _zero_means_burst),
    )
    max_jobs: int | None = option(
        None,
        whole(1, "a whole number above 0, or None", optional=True),
        "Stop after so many jobs.",
    )
    max_memory: int | None = option(
        None, SIZE_OR_NONE, "Stop when the process has more memory than this: bytes, or '512MB'."
    )
    health_port: int | None = option(
        None,
        PORT_OR_NONE,
        "Answer over HTTP there: GET /live, /ready and /metrics. With several processes, the first has "
        "this port, the second the next one, and so on.",
    )
    health_host: str = option(
        "127.0.0.1",
        TEXT,
        "The address of this machine that answers them: '0.0.0.0' or '::' for all, as probes of Kubernetes "
        "need.",
    )
    signals: str = option(
        "modern",
        choice("modern", "resque"),
        "What TERM and INT mean: 'modern' lets running jobs end first, 'resque' stops at once.",
    )
