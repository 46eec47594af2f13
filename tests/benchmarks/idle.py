"""An idle process: its memory, and what it asks of Redis (what a script does there is one command)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import redis

from resqpy.embedded import PrivateServer
from tests.benchmarks.peers import NODE, OURS
from tests.benchmarks.report import Bar, Row, Section
from tests.benchmarks.runner import QUEUE, Bench

NAME = "idle"
_SETTLE_S = 1.0
_SEARCHED_S = (
    12.0  # the first heartbeat is followed by a search, which is repeated each ten minutes
)
_FEW = Bar(0.2, on="ours", at_most=True, unit="/s")


def measure(bench: Bench) -> Section:
    """One worker by default settings, and 50 task processors."""
    one: dict[str, Any] = {"queues": "*"}
    fifty = {"queues": [QUEUE], "processors": 50}
    watched_s = bench.size(120, 11)  # a heartbeat comes every 10 s
    return Section(
        NAME,
        [
            *_rows(bench, "idle Worker", one, watched_s),
            *_rows(bench, "idle MultiWorker 50/50", fifty, watched_s if not bench.quick else 3),
        ],
    )


def _rows(bench: Bench, what: str, params: dict[str, Any], watched_s: float) -> list[Row]:
    found = {side: watch(bench, side, params, watched_s) for side in bench.sides}
    ours, theirs = found[OURS], found.get(NODE, (None, None))
    note = f"over {watched_s:g} s"
    return [
        Row(f"{what}, memory", ours[0], theirs[0], "MB", smaller_is_better=True, bar=Bar(1.0)),
        Row(f"{what}, commands", ours[1], theirs[1], "/s", smaller_is_better=True, bar=_FEW,
            note=note),
    ]  # fmt: skip


def watch(bench: Bench, side: str, params: dict[str, Any], watched_s: float) -> tuple[float, float]:
    """Megabytes of resident memory, and commands a second."""
    bench.redis.flushall()
    with bench.peer(side, "idle", **params) as peer:
        peer.expect("ready")
        time.sleep(_SETTLE_S if bench.quick else _SEARCHED_S)
        return resident_mb(peer.pid), asked(bench.server, watched_s) / watched_s


def asked(server: PrivateServer, watched_s: float) -> int:
    """How many commands clients send within this time; what a script does is none."""
    count, until = 0, time.monotonic() + watched_s
    with (
        redis.Redis(unix_socket_path=str(server.socket_path)) as client,
        client.monitor() as monitor,
    ):
        while time.monotonic() < until:
            if monitor.connection.can_read(timeout=0.2):
                count += monitor.next_command()["client_type"] != "lua"
    return count


def resident_mb(pid: int) -> float:
    """Resident memory of a process (Linux)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1000
