"""The settings of workers, with their defaults."""

from __future__ import annotations

from dataclasses import dataclass

from resqpy.base import codec
from resqpy.engine.heartbeat import INTERVAL_S

MOST_RESCUES = 3  # after so many, the next loss sends a job to the failed list, if it was alone
RUNS_ALONE_AFTER = 2  # losses after which a job runs alone, so that it is known who kills
RESCUE_AFTER_S = 30.0  # without a sign of life, after which a process is dead
FROM_OPTIONS = -1.0  # in place of the seconds that a stop gives: those of the options


@dataclass(frozen=True)
class WorkerOptions:
    """How workers work.

    Attributes:
        timeout_s: seconds between looks for work where Redis can't wake us up.
        stop_timeout_s: seconds that running jobs get at a stop before they are cancelled.
        cancel_timeout_s: seconds that a cancelled job gets to end by itself.
        heartbeat_s: seconds between signs of life.
        max_payload: bytes; larger jobs are not run but sent to the failed list.
        max_threads: plain functions that run at the same time; None: one for each slot.
        host: the host part of the worker ids; None: this machine's name.
        rescue_after_s: seconds without a sign of life after which another process is dead, and its jobs
            go back to their queues.
    """

    timeout_s: float = 5.0
    stop_timeout_s: float = 25.0
    cancel_timeout_s: float = 2.0
    heartbeat_s: float = INTERVAL_S
    max_payload: int = codec.MAX_PAYLOAD
    max_threads: int | None = None
    host: str | None = None
    rescue_after_s: float = RESCUE_AFTER_S


@dataclass(frozen=True)
class ScalingOptions:
    """Between how many task processors a `MultiWorker` moves, and by what.

    Attributes:
        check_s: seconds between two decisions.
        max_event_loop_delay_ms: a loop that is later than this is called blocked.
    """

    min_task_processors: int = 1
    max_task_processors: int = 10
    check_s: float = 0.5
    max_event_loop_delay_ms: float = 10.0
