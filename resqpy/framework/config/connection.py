"""Converts the config to the options of the store, the workers and the scheduler: the one translation of
units (milliseconds outside, seconds inside).
"""

from __future__ import annotations

from typing import Any, TypeVar
from urllib.parse import quote

from resqpy.engine.options import ScalingOptions, WorkerOptions
from resqpy.framework.config.config import Config
from resqpy.framework.config.merge import KNOWN
from resqpy.framework.config.sections import RedisConfig, SchedulerOptions
from resqpy.store.connection.options import RedisOptions

T = TypeVar("T")


def _made(kind: type[T], config: Config, **others: Any) -> T:
    """Build options from the config, and others that the config expresses differently."""
    values = {each.path: each.value for each in config.settings}
    for path, option in KNOWN.items():
        if option.source is not None and issubclass(kind, option.source[0]):
            others.setdefault(option.source[1], _in_unit(option.source[1], kind, values[path]))
    return kind(**others)


def _in_unit(name: str, kind: Any, value: Any) -> Any:
    if value is None or not name.endswith("_s"):
        return value
    whole = isinstance(getattr(kind, name), int)
    return max(1, value // 1000) if whole else value / 1000


def redis_options(config: Config, url: str | None = None) -> RedisOptions:
    """How to connect to Redis.

    Args:
        url: overrides the config.
    """
    redis = config.redis
    return _made(
        RedisOptions,
        config,
        url=url or redis.url or url_of(redis),
        sentinel_kwargs=dict(redis.sentinel_options),
        extra=dict(config.tasks.connection_options),
    )


def url_of(redis: RedisConfig) -> str:
    """The URL for a host, port, database and login."""
    scheme = "rediss" if redis.ssl else "redis"
    login = ""
    if redis.user or redis.password:
        login = f"{quote(redis.user or '', safe='')}:{quote(redis.password or '', safe='')}@"
    host = redis.host or "127.0.0.1"
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{login}{host}:{redis.port}/{redis.db}"


def worker_options(config: Config) -> WorkerOptions:
    """Options of workers."""
    return _made(WorkerOptions, config)


def scaling_options(config: Config) -> ScalingOptions:
    """The range of task processors; a worker that was requested runs even if both are 0."""
    tasks, usual = config.tasks, ScalingOptions()
    least, most = tasks.min_task_processors, tasks.max_task_processors
    if most == 0:
        least = least or usual.min_task_processors
        most = max(tasks.min_task_processors, usual.max_task_processors)
    return _made(ScalingOptions, config, min_task_processors=least, max_task_processors=most)


def scheduler_options(config: Config) -> SchedulerOptions:
    """Options of the scheduler."""
    own = config.scheduler.timeout
    timeout_ms = config.tasks.timeout if own is None else own
    return _made(SchedulerOptions, config, timeout_s=timeout_ms / 1000)
