"""`config/redis.py`: which Redis. With no url and no host, an embedded one in the project's folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resqpy.base.keys import DEFAULT_NAMESPACE
from resqpy.framework.kinds import (
    ADDRESSES,
    FLAG,
    HOST_OR_NONE,
    MAPPING,
    PORT,
    TEXT,
    TEXT_OR_NONE,
    TIME,
    whole,
)
from resqpy.framework.options import option


@dataclass(frozen=True, kw_only=True)
class RedisConfig:
    """Which Redis."""

    url: str | None = option(
        None,
        TEXT_OR_NONE,
        "redis://, rediss:// (TLS) or unix://, with user, password and database in it.",
        "REDIS_URL",
        secret=True,
    )
    host: str | None = option(None, HOST_OR_NONE, "The host, where there is no url.", "REDIS_HOST")
    port: int = option(6379, PORT, "The port, with host.", "REDIS_PORT")
    db: int = option(0, whole(0, "a database number"), "The database, with host.", "REDIS_DB")
    user: str | None = option(None, TEXT_OR_NONE, "The ACL user, with host.")
    password: str | None = option(
        None, TEXT_OR_NONE, "The password, with host.", "REDIS_PASSWORD", secret=True
    )
    ssl: bool = option(False, FLAG, "Whether to use TLS, with host.", "REDIS_SSL")
    namespace: str = option(
        DEFAULT_NAMESPACE,
        TEXT,
        "Prefix of every Redis key; '{resque}' on a Cluster.",
    )
    sentinels: tuple[tuple[str, int], ...] = option(
        (),
        ADDRESSES,
        "The Sentinels, 'rediss://host:port' for TLS; then url or host give user, password and database.",
    )
    sentinel_service: str = option("mymaster", TEXT, "The Sentinels' name of the master.")
    sentinel_options: Mapping[str, Any] = option(
        {},
        MAPPING,
        "How to log in to the Sentinels themselves: username, password; ssl, for TLS.",
        secret=True,
    )
    cluster: bool = option(
        False, FLAG, "Whether it is a node of a Redis Cluster; url may name several: redis://a,b,c."
    )
    cluster_nodes: tuple[tuple[str, int], ...] = option(
        (), ADDRESSES, "Further nodes of the Cluster; one that can be reached is enough."
    )
    connect_timeout: int = option(5000, TIME, "How long a connection may take to open.")
    reply_timeout: int = option(15_000, TIME, "How long Redis may be silent.")
    startup_timeout: int = option(
        30_000,
        TIME,
        "How long a worker, a scheduler or an application waits for Redis at its start.",
    )
    wait_replicas: int = option(
        0,
        whole(0, "a number of replicas"),
        "How many replicas must confirm what is enqueued before that returns; 0: none.",
    )
    wait_timeout: int = option(
        1000, TIME, "How long they may take; then UnderReplicated is raised."
    )
