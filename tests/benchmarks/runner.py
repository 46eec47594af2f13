"""What every measurement needs: the Redis, sizes, repeated runs that alternate between the sides."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from redis import Redis

from resqpy.base.keys import Keys
from resqpy.embedded import PrivateServer
from tests.benchmarks.peers import NODE, OURS, Peer, has_node
from tests.benchmarks.report import middle

QUEUE, TASK = "default", "noop"

# Server side: a million jobs are there in seconds, and no client's speed is measured by mistake.
_FILL = """
for i = ARGV[2], ARGV[3] do redis.call('RPUSH', KEYS[1], (string.gsub(ARGV[1], '%%N', i))) end
"""
_FILL_STEP = 20_000


class Bench:
    """One run of the benchmarks.

    Args:
        quick: small sizes and single runs, to see that all works; the numbers say little.
    """

    def __init__(self, server: PrivateServer, *, quick: bool = False) -> None:
        self.server = server
        self.quick = quick
        self.keys = Keys()
        self.redis: Redis = Redis(unix_socket_path=str(server.socket_path))

    def size(self, full: int, quick: int) -> int:
        """How many."""
        return quick if self.quick else full

    @property
    def sides(self) -> list[str]:
        """Whom to measure; node-resque first."""
        return [NODE, OURS] if has_node() else [OURS]

    def peer(self, side: str, program: str, **params: Any) -> Peer:
        """Start a program against this Redis."""
        return Peer(side, program, {"socket": str(self.server.socket_path), **params})

    def result(self, side: str, program: str, **params: Any) -> Any:
        """Run a program on an empty Redis, to its result."""
        self.redis.flushall()
        with self.peer(side, program, **params) as peer:
            return peer.expect("result", 300.0)

    def medians(
        self, runs: Mapping[str, Callable[[], float]], times: int | None = None
    ) -> dict[str, float | None]:
        """The median of each of several measurements, done in turn; None for what is left out."""
        found: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(times or self.size(3, 1)):
            for name, run in runs.items():
                found[name].append(run())
        medians: dict[str, float | None] = {OURS: None, NODE: None}
        return {**medians, **{name: middle(values) for name, values in found.items()}}

    def both(
        self, run: Callable[[str], float], times: int | None = None
    ) -> dict[str, float | None]:
        """`medians` of the same measurement on each side."""
        return self.medians({side: partial(run, side) for side in self.sides}, times)

    def preload(self, key: str, count: int, *, queue: str = QUEUE, task: str = TASK) -> None:
        """Fill a list with jobs whose one argument counts from 1, as node-resque spells them."""
        job = json.dumps({"class": task, "queue": queue, "args": ["N"]}, separators=(",", ":"))
        text = job.replace('"N"', "%N")
        for start in range(1, count + 1, _FILL_STEP):
            stop = min(start + _FILL_STEP - 1, count)
            self.redis.eval(_FILL, 1, key, text, start, stop)
