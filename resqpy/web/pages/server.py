"""What holds jobs back (limits of queues and tasks, locks of plugins), and the Redis that keeps them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.responses import Response

from resqpy.base import codec
from resqpy.base.errors import StoreError, StoreMisconfigured
from resqpy.base.limits import Rate
from resqpy.base.model import KeyLimit
from resqpy.base.when import duration_ms
from resqpy.diagnosis import texts
from resqpy.diagnosis.checks import Problem
from resqpy.store import locks, queues
from resqpy.store.connection.client import Store
from resqpy.web.rendering import page
from resqpy.web.views import Shown, cut
from resqpy.web.visit import Visit

_LOCKS = 200
_ROWS = 200
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


@dataclass(frozen=True)
class LimitRow:
    """A limit.

    Attributes:
        of: the queue, or the limit's name and perhaps one of its keys.
        most: how many, in words.
        full: no more may run now.
    """

    of: str
    most: str
    running: int
    waiting: int
    full: bool
    is_queue: bool = False
    by_hand: bool = False
    since_ms: int | None = None
    shut_ms: int | None = None


async def limits_page(visit: Visit) -> Response:
    """The limits, those first for which jobs wait. Locks have no index, so they are looked for on request only, by
    who may see arguments: their names have some.
    """
    resque, shown = visit.resque, Shown(visit)
    wanted = shown.arguments and "locks" in visit.request.query_params
    of_queues, of_tasks = await asyncio.gather(resque.running_limits(), resque.limits())
    lengths = await queues.lengths(resque.store, [*of_queues]) if of_queues else []
    rows = [
        LimitRow(
            name,
            str(each.most),
            len(each.running),
            waiting,
            len(each.running) >= each.most,
            is_queue=True,
        )
        for (name, each), waiting in zip(of_queues.items(), lengths, strict=True)
    ]
    rows += [_task_row(shown, name, each) for name, each in of_tasks.items()]
    rows.sort(key=lambda each: (-each.waiting, not each.full, each.of))
    found = await locks.some(resque.store, _LOCKS + 1) if wanted else None
    held = (
        None
        if found is None
        else [
            (_lock_name(shown, name), locks.ends_ms(found[name])) for name in sorted(found)[:_LOCKS]
        ]
    )
    return page(
        visit, "limits", rows=rows[:_ROWS], total=len(rows), locks=held,
        more=found is not None and len(found) > _LOCKS, may_see=shown.arguments,
    )  # fmt: skip


def _task_row(shown: Shown, name: str, limit: KeyLimit) -> LimitRow:
    of, key, _ = name.partition("=")  # the value of an input follows
    most, running = limit.most, len(limit.running)
    label = shown.text(name) if shown.arguments or not key else f"{cut(of)}=…"
    full = limit.rate is None and most is not None and running >= most
    waiting = sum(limit.parked.values())
    return LimitRow(
        label, _most(limit.rate if most is None else most), running, waiting, full,
        by_hand=limit.by_hand, since_ms=limit.since_ms, shut_ms=limit.shut_ms,
    )  # fmt: skip


def _most(most: int | Rate | None) -> str:
    if isinstance(most, Rate):
        burst = f", {most.burst} at once" if most.burst > 1 else ""
        return f"{most.count} in {texts.duration(duration_ms(most.per))}{burst}"
    return "removed" if most is None else str(most)


def _lock_name(shown: Shown, name: str) -> str:
    """Node's and ours end with the arguments as JSON, Ruby's with their texts."""
    head, bracket, rest = name.partition("[")
    args = codec.decode_lenient(f"[{rest}".encode("utf-8", "replace")) if bracket else None
    return shown.text(name) if args is None else f"{cut(head)}{shown.brief([args])}"


# -- the server --


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
        text = info.get(name, "")
        return int(text) if text.isascii() and text.isdigit() else None

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
