"""`bin/bench [names…] [--quick] [--json]`."""

from __future__ import annotations

import argparse
import json
import sys
import time

from resqpy.embedded import PrivateServer
from tests.benchmarks import history, measurements
from tests.benchmarks.report import Section, table
from tests.benchmarks.runner import Bench


def main() -> int:
    """Measure, print, remember; 1 if a bar is missed."""
    asked = _arguments()
    with PrivateServer(config=["save ''"]) as server:
        bench = Bench(server, quick=asked.quick)
        facts = history.facts(bench)
        names = asked.names or measurements.DEFAULT
        sections = [_measured(name, bench) for name in names]
    if not asked.no_history:
        history.append(facts, sections, quick=asked.quick)
    if asked.json:
        print(json.dumps(history.entry(facts, sections, quick=asked.quick), indent=2))
    else:
        print(history.headline(facts))
        if any(section.rows for section in sections):
            print(table(sections))
        print("\n".join(f"\n{section.text}" for section in sections if section.text))
    return int(any(not section.fine for section in sections))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bin/bench", description=measurements.__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="name", help=", ".join(measurements.ALL) + "; default: most"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, single runs")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    parser.add_argument("--no-history", action="store_true", help="leave history.jsonl alone")
    asked = parser.parse_args()
    if wrong := [name for name in asked.names if name not in measurements.ALL]:
        parser.error(f"unknown {wrong[0]!r}; there are {', '.join(measurements.ALL)}")
    return asked


def _measured(name: str, bench: Bench) -> Section:
    print(f"bench: {name} …", end=" ", file=sys.stderr, flush=True)
    start = time.monotonic()
    try:
        section = measurements.ALL[name](bench)
    except Exception as error:  # the others can still be measured
        section = Section(name, text=f"{name} FAILED: {error!r}", failed=True)
    section.seconds = round(time.monotonic() - start, 1)
    bench.redis.flushall()
    print(f"{section.seconds:.0f} s", file=sys.stderr)
    return section


if __name__ == "__main__":
    sys.exit(main())
