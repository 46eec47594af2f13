"""The sections of the config that resqpy reads, `config/<section>.py`; those of `tasks` have ActionHero's
names.

Settings of the engine or the store are declared there, with default and description.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from resqpy.base.masking import SECRETS
from resqpy.base.model import described
from resqpy.engine.options import LeaderOptions, RescueOptions, ScalingOptions, WorkerOptions
from resqpy.framework.config.kinds import (
    ADDRESSES,
    ANY_TEXT,
    DURATION,
    DURATION_OR_NONE,
    EVENT_LEVEL,
    FILE_OR_NONE,
    FINE_DELAY,
    FLAG,
    HOST_OR_NONE,
    LEVEL,
    MAPPING,
    PART,
    PORT,
    PORT_OR_NONE,
    QUEUE_LIMITS,
    QUEUES,
    SIZE,
    SIZE_OR_NONE,
    TEXT,
    TEXT_OR_NONE,
    TEXTS,
    TIME,
    ZONE,
    Historic,
    choice,
    option,
    part,
    same,
    seconds,
    whole,
)
from resqpy.store.connection.options import RedisOptions


@dataclass(frozen=True, kw_only=True)
class GeneralConfig:
    """The project."""

    name: str | None = option(
        None,
        TEXT_OR_NONE,
        "The application's name, in each log line; None: the directory's name.",
        "APP_NAME",
    )
    timezone: str = option("UTC", ZONE, "The time zone of cron tasks that name none.")
    modules: tuple[str, ...] = option(
        ("*",),
        TEXTS,
        "Which directories below modules/ are loaded, in this order; '*': all others.",
    )
    packages: bool = option(
        True,
        FLAG,
        "Whether installed packages may provide tasks, plugins and initializers (entry points).",
    )


QueueList = Sequence[str | tuple[str, int]]
Queues = QueueList | Callable[[], QueueList | Awaitable[QueueList]]


def _interval(text: str) -> str | None:
    """Resque's INTERVAL: seconds; 0 means "until the queues are empty", see `process.burst`."""
    return seconds(text) if text.strip("0. ") else None


@dataclass(frozen=True, kw_only=True)
class WorkerLogging:
    """The level at which each event of a worker is logged; None: not at all."""

    failure: str | None = option("error", EVENT_LEVEL, "A task failed.")
    success: str | None = option(
        "info", EVENT_LEVEL, "A task succeeded, or its run was forbidden: the one line of a job."
    )
    re_enqueue: str | None = option("info", EVENT_LEVEL, "A job is delayed: retry, lock, snooze.")
    start: str | None = option("debug", EVENT_LEVEL, "A task processor starts.")
    end: str | None = option("debug", EVENT_LEVEL, "A task processor stops.")
    cleaning_worker: str | None = option(
        "info", EVENT_LEVEL, "A dead worker is removed, its job put back."
    )
    poll: str | None = option("debug", EVENT_LEVEL, "A task processor looks for work.")
    ping: str | None = option("debug", EVENT_LEVEL, "A heartbeat was sent.")
    job: str | None = option("debug", EVENT_LEVEL, "A job was taken and starts.")
    pause: str | None = option("debug", EVENT_LEVEL, "There is no work.")
    internal_error: str | None = option("error", EVENT_LEVEL, "An error of the worker itself.")
    multi_worker_action: str | None = option("debug", EVENT_LEVEL, "More or fewer processors.")


@dataclass(frozen=True, kw_only=True)
class SchedulerLogging:
    """The level at which each event of the scheduler is logged; None: not at all."""

    start: str | None = option("info", EVENT_LEVEL, "The scheduler starts.")
    end: str | None = option("info", EVENT_LEVEL, "The scheduler stops.")
    leader: str | None = option("info", EVENT_LEVEL, "This scheduler leads from now on.")
    follower: str | None = option("info", EVENT_LEVEL, "Another scheduler leads from now on.")
    poll: str | None = option("debug", EVENT_LEVEL, "The scheduler checks what is due.")
    enqueue: str | None = option("debug", EVENT_LEVEL, "A delayed or periodic job was enqueued.")
    re_enqueue: str | None = option(
        "debug", EVENT_LEVEL, "The job of a periodic task was lost: it is enqueued again."
    )
    working_timestamp: str | None = option("debug", EVENT_LEVEL, "The jobs of a second are moved.")
    transferred_job: str | None = option("debug", EVENT_LEVEL, "A delayed job entered its queue.")
    cleaning_worker: str | None = option(
        "info", EVENT_LEVEL, "A dead worker is removed, its job put back."
    )
    internal_error: str | None = option("error", EVENT_LEVEL, "An error of the scheduler itself.")


@dataclass(frozen=True, kw_only=True)
class ResqueOverrides:
    """Replacements of parts: each a dotted path, a class or a factory; None: ours."""

    queue: Any = option(None, PART, "Instead of resqpy.Queue.")
    multi_worker: Any = option(None, PART, "Instead of resqpy.MultiWorker.")
    scheduler: Any = option(None, PART, "Instead of resqpy.Scheduler.")


@dataclass(frozen=True, kw_only=True)
class TasksConfig:
    """Workers and scheduler."""

    IN_ENVIRONMENT: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "test": {"timeout": 100, "check_timeout": 50},
    }

    scheduler: bool = option(
        False, FLAG, "Whether this process runs a scheduler, which delayed and periodic jobs need."
    )
    queues: Queues = option(
        ("*",),
        QUEUES,
        "The queues to work, in order of priority: names, globs, '*' (all others), '!not_this'; neighbours "
        "with weights, ('critical', 6) or 'critical=6', share their place. Or a function, plain or async, "
        "that returns such a list when the process starts.",
        "QUEUES",
        "QUEUE",
    )
    worker_logging: WorkerLogging = part(WorkerLogging)
    scheduler_logging: SchedulerLogging = part(SchedulerLogging)
    timeout: int = same(WorkerOptions, "timeout_s", TIME, Historic("INTERVAL", _interval))
    min_task_processors: int = option(
        0, whole(0, "a whole number, 0 or more"), "Minimum number of concurrent jobs; 0: none."
    )
    max_task_processors: int = option(
        0,
        whole(0, "a whole number, 0 or more"),
        "Maximum number of concurrent jobs; 0: this process runs none (`resqpy worker` and `start` use 10).",
    )
    check_timeout: int = same(ScalingOptions, "check_s", TIME)
    max_event_loop_delay: float = same(ScalingOptions, "max_event_loop_delay_ms", FINE_DELAY)
    to_disconnect_processors: bool = option(
        True,
        FLAG,
        "Accepted without effect: all task processors share one connection to Redis, so there is none to close "
        "when one stops.",
    )
    resque_overrides: ResqueOverrides = part(ResqueOverrides)
    connection_options: Mapping[str, Any] = option(
        {}, MAPPING, "More keywords of redis-py's Connection for workers, queue and scheduler."
    )
    queue_limits: Mapping[str, int] | None = same(RedisOptions, "queue_limits", QUEUE_LIMITS)
    running_limits: Mapping[str, int] | None = same(WorkerOptions, "running_limits", QUEUE_LIMITS)
    full_queue_wait: int = same(RedisOptions, "full_queue_wait_s", DURATION)
    ruby_queues: Sequence[str] = same(RedisOptions, "ruby_queues", TEXTS)
    failed_per_queue: bool = same(RedisOptions, "failed_per_queue", FLAG)
    stuck_worker_timeout: int = same(LeaderOptions, "stuck_worker_timeout_ms", DURATION)
    retry_stuck_jobs: bool = same(LeaderOptions, "retry_stuck_jobs", FLAG)
    stop_timeout: int = same(
        WorkerOptions,
        "stop_timeout_s",
        DURATION,
        Historic(
            "RESQUE_PRE_SHUTDOWN_TIMEOUT", seconds
        ),  # how long jobs go on before they are told
        Historic("RESQUE_TERM_TIMEOUT", seconds),
    )
    cancel_timeout: int = same(WorkerOptions, "cancel_timeout_s", DURATION)
    heartbeat: int = same(WorkerOptions, "heartbeat_s", TIME)
    max_payload: int = same(WorkerOptions, "max_payload", SIZE)
    max_threads: int | None = same(
        WorkerOptions, "max_threads", whole(1, "a whole number above 0, or None", optional=True)
    )
    host: str | None = same(WorkerOptions, "host", TEXT_OR_NONE)
    tracked_preset: str = option(
        "irontask",
        choice("irontask", "extra_horizon", "twin"),
        "The preset for options of a tracked task that its creator omits.",
    )


@dataclass(frozen=True)
class SchedulerOptions(LeaderOptions):
    """How a scheduler leads and what it does."""

    task_lost_after_ms: int = described(
        300_000, "A tracked task that has been pending for this long without a job counts as lost."
    )


@dataclass(frozen=True, kw_only=True)
class SchedulerConfig:
    """The scheduler."""

    timeout: int | None = option(
        None,
        DURATION_OR_NONE,
        "How long to wait between checks for due jobs if Redis can't wake us up; None: tasks.timeout.",
        Historic("RESQUE_SCHEDULER_INTERVAL", seconds),
    )
    lease: int = same(LeaderOptions, "lease_s", TIME)
    foreign_lock_ttl: int = same(
        LeaderOptions, "foreign_lock_ttl_s", TIME, Historic("LOCK_TIMEOUT", seconds)
    )
    ruby_lock_prefix: str = same(
        LeaderOptions, "ruby_lock_prefix", ANY_TEXT, "RESQUE_SCHEDULER_MASTER_LOCK_PREFIX"
    )
    name: str | None = same(LeaderOptions, "name", TEXT_OR_NONE)
    rescue_after: int = same(RescueOptions, "rescue_after_s", TIME)
    task_lost_after: int = same(SchedulerOptions, "task_lost_after_ms", TIME)
    failed_keep: int | None = same(
        LeaderOptions, "failed_keep", whole(0, "a whole number or None", optional=True)
    )
    failed_for: int | None = same(LeaderOptions, "failed_for_ms", DURATION_OR_NONE)
    failed_archive: Any = same(LeaderOptions, "failed_archive", PART)
    ruby_leads: bool = same(LeaderOptions, "ruby_leads", FLAG)
    ruby_prune_after: int | None = same(LeaderOptions, "ruby_prune_after_ms", DURATION_OR_NONE)
    ruby_env: str | None = same(LeaderOptions, "ruby_env", TEXT_OR_NONE, "RAILS_ENV")
    ruby_timezone: str | None = same(LeaderOptions, "ruby_timezone", TEXT_OR_NONE)


@dataclass(frozen=True, kw_only=True)
class RedisConfig:
    """How to connect to Redis."""

    url: str | None = option(
        None,
        TEXT_OR_NONE,
        "redis://, rediss:// (TLS) or unix://, with user, password and database in it.",
        "REDIS_URL",
        secret=True,
    )
    host: str | None = option(None, HOST_OR_NONE, "The host, if there is no url.", "REDIS_HOST")
    port: int = option(6379, PORT, "The port, with host.", "REDIS_PORT")
    db: int = option(0, whole(0, "a database number"), "The database, with host.", "REDIS_DB")
    user: str | None = option(None, TEXT_OR_NONE, "The ACL user, with host.")
    password: str | None = option(
        None, TEXT_OR_NONE, "The password, with host.", "REDIS_PASSWORD", secret=True
    )
    ssl: bool = option(False, FLAG, "Whether to use TLS, with host.", "REDIS_SSL")
    namespace: str = same(RedisOptions, "namespace", ANY_TEXT)
    sentinels: tuple[tuple[str, int], ...] = same(RedisOptions, "sentinels", ADDRESSES)
    sentinel_service: str = same(RedisOptions, "sentinel_service", TEXT)
    sentinel_options: Mapping[str, Any] = option(
        {},
        MAPPING,
        "The login for the Sentinels themselves: username, password; ssl, for TLS.",
        secret=True,
    )
    cluster: bool = same(RedisOptions, "cluster", FLAG)
    cluster_nodes: tuple[tuple[str, int], ...] = same(RedisOptions, "seeds", ADDRESSES)
    connect_timeout: int = same(RedisOptions, "connect_timeout_s", TIME)
    reply_timeout: int = same(RedisOptions, "reply_timeout_s", TIME)
    startup_timeout: int = same(RedisOptions, "startup_timeout_s", TIME)
    wait_replicas: int = same(RedisOptions, "wait_replicas", whole(0, "a number of replicas"))
    wait_timeout: int = same(RedisOptions, "wait_timeout_s", TIME)


def _when_set(level: str) -> Any:
    return lambda text: level if text.strip() not in {"", "0", "false", "no"} else None


@dataclass(frozen=True, kw_only=True)
class LoggerConfig:
    """The log."""

    IN_ENVIRONMENT: ClassVar[Mapping[str, Mapping[str, Any]]] = {"test": {"level": "warning"}}

    level: str = option(
        "info",
        LEVEL,
        "Lines below this level are not written (and cost next to nothing).",
        "LOG_LEVEL",
        Historic("VVERBOSE", _when_set("debug")),
        Historic("VERBOSE", _when_set("info")),
        Historic("LOGGING", _when_set("info")),
        Historic("QUIET", _when_set("warning")),
    )
    format: str = option(
        "auto",
        choice("auto", "console", "json"),
        "Human-readable ('console') or JSON ('json'); 'auto': human-readable on a terminal.",
        "LOGFORMAT",
    )
    file: str | None = option(
        None, FILE_OR_NONE, "A file to append to; None: standard error.", "LOGFILE"
    )
    arguments: bool = option(
        False, FLAG, "Whether a job's line shows its inputs (filtered and shortened)."
    )
    filtered: tuple[str, ...] = option(
        SECRETS, TEXTS, "Values whose names contain one of these words are hidden."
    )
    max_string: int = option(
        100, whole(1, "a whole number above 0"), "Longer texts in inputs are cut."
    )
    max_items: int = option(
        10, whole(1, "a whole number above 0"), "Longer lists in inputs are cut."
    )


def _zero_means_burst(text: str) -> str | None:
    """INTERVAL=0 is Resque's way to say: work until the queues are empty."""
    return None if text.strip("0. ") else "1"


def _count(text: str) -> str | None:
    """`0` is not a valid number of processes; Resque's rake task rejects it too."""
    return text.strip() or None


@dataclass(frozen=True, kw_only=True)
class ProcessConfig:
    """A worker process."""

    processes: int = option(
        1,
        whole(1, "a whole number above 0"),
        "How many processes `resqpy worker` runs and supervises.",
        Historic("COUNT", _count),
    )
    pool: str | None = option(
        None,
        FILE_OR_NONE,
        "A file with groups of queues, as resque-pool's: `resqpy worker` supervises a process for each, which "
        "runs so many jobs at once as stand there.",
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
        "Stop after this many jobs.",
    )
    max_memory: int | None = option(
        None, SIZE_OR_NONE, "Stop when the process has more memory than this: bytes, or '512MB'."
    )
    health_port: int | None = option(
        None,
        PORT_OR_NONE,
        "Answer HTTP requests there: GET /live, /ready and /metrics. With several processes, the first uses "
        "this port, the second the next one, and so on.",
    )
    health_host: str = option(
        "127.0.0.1",
        TEXT,
        "The local address for them: '0.0.0.0' or '::' for all, as Kubernetes probes need.",
    )
    loop: str = option(
        "auto",
        choice("auto", "asyncio", "uvloop"),
        "The event loop: 'auto' is uvloop's where it is installed (`resqpy[uvloop]`), else asyncio's.",
    )
    signals: str = option(
        "modern",
        choice("modern", "resque"),
        "What TERM and INT mean: 'modern' lets running jobs finish first, 'resque' stops immediately.",
    )


SECTIONS: Mapping[str, type] = MappingProxyType(
    {
        "general": GeneralConfig,
        "tasks": TasksConfig,
        "scheduler": SchedulerConfig,
        "redis": RedisConfig,
        "logger": LoggerConfig,
        "process": ProcessConfig,
    }
)
