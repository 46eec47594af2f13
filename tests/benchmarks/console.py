"""The console's pages on a full Redis: their first byte beside that of a page that only PINGs, and their cost."""

from __future__ import annotations

from typing import Any

from tests.benchmarks.peers import OURS
from tests.benchmarks.report import Bar, Row, Section
from tests.benchmarks.runner import Bench

NAME = "console"
_BAR = Bar(30, on="ours", at_most=True, unit="x")
_WITHIN_S = 900.0  # filling takes one to two minutes


def measure(bench: Bench) -> Section:
    """All pages, in turn with the other one."""
    bench.redis.flushall()
    with bench.peer(OURS, "console", times=bench.size(100, 1) / 100) as peer:
        found: dict[str, Any] = peer.expect("result", _WITHIN_S)
    pages = found["pages"].values()
    filled = (
        f"filled in {found['fill_s']:.0f} s; Redis has {found['memory'] / 2**20:,.0f} MiB; the console's process "
        f"at most {max(each['rss'] for each in pages) / 2**20:,.0f} MiB, {found['rss'] / 2**20:,.0f} at the "
        f"end; the slowest page {max(each['p95_ms'] for each in pages):.0f} ms (p95), the slowest command "
        f"{max(each['slow_ms'] for each in pages):.1f} ms"
    )
    return Section(NAME, [_row(path, each) for path, each in found["pages"].items()], filled)


def _row(path: str, page: dict[str, Any]) -> Row:
    note = (
        f"{page['ms']:.1f} ms of {page['ping_ms']:.1f}, p95 {page['p95_ms']:.0f}; "
        f"{page['round_trips']} round trips, "
        f"{page['commands']} commands, {page['bytes'] / 1024:.0f} KiB; the first ever {page['first_ms']:.0f} ms; "
        f"slowest command {page['slow_ms']:.1f} ms; {page['rss'] / 2**20:.0f} MiB"
    )
    return Row(
        path, page["ms"] / page["ping_ms"], unit="x", smaller_is_better=True, bar=_BAR, note=note
    )
