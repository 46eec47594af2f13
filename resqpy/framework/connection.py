"""From the config to the options of the store, the workers and the scheduler: the one translation of
units (milliseconds outside, seconds inside).
"""

from __future__ import annotations

from urllib.parse import quote

from resqpy.engine.options import ScalingOptions, WorkerOptions
from resqpy.framework.config import Config
from resqpy.framework.defaults import RedisConfig
from resqpy.framework.scheduler_options import SchedulerOptions
from resqpy.store.options import RedisOptions

USUAL_PROCESSORS = (1, 10)  # where a worker is asked for and the config says 0


def redis_options(config: Config, url: str | None = None) -> RedisOptions:
    """Which Redis.

    Args:
        url: instead of what the config says.
    """
    redis = config.redis
    return RedisOptions(
        url=url or redis.url or url_of(redis),
        namespace=redis.namespace,
        sentinels=redis.sentinels,
        sentinel_service=redis.sentinel_service,
        sentinel_kwargs=dict(redis.sentinel_options),
        cluster=redis.cluster,
        connect_timeout_s=redis.connect_timeout / 1000,
        seeds=redis.cluster_nodes,
        reply_timeout_s=redis.reply_timeout / 1000,
        startup_timeout_s=redis.startup_timeout / 1000,
        wait_replicas=redis.wait_replicas,
        wait_timeout_s=redis.wait_timeout / 1000,
        extra=dict(config.tasks.connection_options),
    )


def url_of(redis: RedisConfig) -> str:
    """The URL of a host, port, database and login."""
    scheme = "rediss" if redis.ssl else "redis"
    login = ""
    if redis.user or redis.password:
        login = f"{quote(redis.user or '', safe='')}:{quote(redis.password or '', safe='')}@"
    host = redis.host or "127.0.0.1"
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{login}{host}:{redis.port}/{redis.db}"


def worker_options(config: Config) -> WorkerOptions:
    """How workers work."""
    tasks = config.tasks
    return WorkerOptions(
        timeout_s=tasks.timeout / 1000,
        stop_timeout_s=tasks.stop_timeout / 1000,
        cancel_timeout_s=tasks.cancel_timeout / 1000,
        heartbeat_s=tasks.heartbeat / 1000,
        max_payload=tasks.max_payload,
        max_threads=tasks.max_threads,
        host=tasks.host,
        rescue_after_s=config.scheduler.rescue_after / 1000,
    )


def scaling_options(config: Config) -> ScalingOptions:
    """Between how many task processors; a worker that is asked for works, whatever zeros say."""
    tasks = config.tasks
    least, most = tasks.min_task_processors, tasks.max_task_processors
    if most == 0:
        least, most = (least or USUAL_PROCESSORS[0]), max(least, USUAL_PROCESSORS[1])
    return ScalingOptions(
        min_task_processors=least,
        max_task_processors=most,
        check_s=tasks.check_timeout / 1000,
        max_event_loop_delay_ms=tasks.max_event_loop_delay,
    )


def scheduler_options(config: Config) -> SchedulerOptions:
    """How the scheduler leads."""
    scheduler, tasks = config.scheduler, config.tasks
    timeout_ms = tasks.timeout if scheduler.timeout is None else scheduler.timeout
    return SchedulerOptions(
        timeout_s=timeout_ms / 1000,
        lease_s=scheduler.lease / 1000,
        foreign_lock_ttl_s=max(1, scheduler.foreign_lock_ttl // 1000),
        ruby_lock_prefix=scheduler.ruby_lock_prefix,
        ruby_leads=scheduler.ruby_leads,
        ruby_prune_after_ms=scheduler.ruby_prune_after,
        name=scheduler.name,
        stuck_worker_timeout_ms=tasks.stuck_worker_timeout,
        retry_stuck_jobs=tasks.retry_stuck_jobs,
        rescue_after_s=scheduler.rescue_after / 1000,
        task_lost_after_ms=scheduler.task_lost_after,
        ruby_env=scheduler.ruby_env,
        ruby_timezone=scheduler.ruby_timezone,
    )
