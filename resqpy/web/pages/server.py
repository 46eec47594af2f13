"""The Redis that keeps everything."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.responses import Response

from resqpy.base.errors import StoreError, StoreMisconfigured
from resqpy.base.when import whole_number
from resqpy.diagnosis import texts
from resqpy.diagnosis.checks import Problem
from resqpy.store.connection.client import Store
from resqpy.web.rendering import page
from resqpy.web.visit import Visit

_PATIENCE_S = 0.5
_OF_THE_SERVER = (
    "eviction",
    "memory",
    "disk",
    "persistence",
    "no replica",
    "replica",
    "clock",
    "old data",
)  # fmt: skip - names of what `resqpy doctor` finds


def _utc(second: int | None) -> str:
    told = texts.iso(second * 1000) if second else None
    return "unknown" if told is None else f"{told[:19].replace('T', ' ')} UTC"


@dataclass(frozen=True)
class ServerView:
    """The Redis.

    Attributes:
        facts: names and values, by heading.
        problems: what `resqpy doctor` finds wrong with it; None: not known yet.
    """

    facts: Mapping[str, Sequence[tuple[str, str]]]
    problems: Sequence[Problem] | None


async def redis_page(visit: Visit) -> Response:
    """What Redis says of itself, without addresses, and what is wrong with it."""
    store = visit.resque.store
    info, slow, problems = await asyncio.gather(
        store.info("default"), _slow(store), visit.console.problems.get(_PATIENCE_S)
    )
    shown = problems and [each for each in problems if each.name in _OF_THE_SERVER]
    return page(visit, "redis", view=ServerView(_facts(info, slow), shown))


async def _slow(store: Store) -> str:
    try:
        return f"{await store.call('SLOWLOG', 'LEN'):,}"
    except StoreMisconfigured:
        return "not allowed to this Redis user"
    except StoreError:
        return "unknown"


def _facts(info: Mapping[str, str], slow: str) -> dict[str, list[tuple[str, str]]]:
    def number(name: str) -> int | None:
        return whole_number(info.get(name, ""))

    def count(name: str) -> str:
        return "unknown" if (found := number(name)) is None else f"{found:,}"

    def size(name: str) -> str:
        return "unknown" if (found := number(name)) is None else f"{found / 2**20:,.1f} MiB"

    most = number("maxmemory")
    saved, up = number("rdb_last_save_time"), number("uptime_in_seconds")
    kind = "Valkey" if "valkey_version" in info else "Redis"
    return {
        "Server": [
            ("Version", f"{kind} {info.get('valkey_version', info.get('redis_version', 'unknown'))}"),
            ("Up for", "unknown" if up is None else texts.duration(up * 1000)),
            ("Role", info.get("role", "unknown")),
            ("Replicas", count("connected_slaves")),
            ("Clients", f"{count('connected_clients')} of {count('maxclients')}"),
            ("Commands a second", count("instantaneous_ops_per_sec")),
            ("Slow log", slow),
        ],
        "Memory": [
            ("Used", size("used_memory")),
            ("At most", size("maxmemory") if most else "no limit"),
            ("Peak", size("used_memory_peak")),
            ("When it is full", info.get("maxmemory_policy", "unknown")),
            ("Evicted keys", count("evicted_keys")),
        ],
        "Persistence": [
            ("Append-only file", "on" if info.get("aof_enabled") == "1" else "off"),
            ("Its last write", info.get("aof_last_write_status", "unknown")),
            ("Last snapshot", _utc(saved)),
            ("How that went", info.get("rdb_last_bgsave_status", "unknown")),
            ("Changes since", count("rdb_changes_since_last_save")),
        ],
    }  # fmt: skip
