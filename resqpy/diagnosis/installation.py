"""The installation at a glance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from resqpy.engine.inspector import Details, Inspector
from resqpy.store import unregistered
from resqpy.store.overview import is_paused


@dataclass(frozen=True)
class InstallationSummary:
    """Queues, workers, counters, the leader.

    Attributes:
        unregistered: workers that are not registered and have something on record.
        everything: all keys were looked at for these; else some ten thousand.
    """

    details: Details
    paused: bool
    unregistered: int
    everything: bool

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        details = self.details
        counters, workers = details["stats"], details["workers"].values()
        return {
            "queues": details["queues"],
            "waiting": sum(details["queues"].values()),
            "workers": len(workers),
            "working": sum(work is not None for work in workers),
            "delayed_times": details["delayed"],
            "failed_jobs": details["failed"],
            "processed": counters["processed"],
            "failures": counters["failed"],
            "leader": details["leader"],
            "paused": self.paused,
            "unregistered": self.unregistered,
        }


async def installation(inspector: Inspector) -> InstallationSummary:
    """Look at it."""
    others = await unregistered.look(inspector.store)
    paused = await is_paused(inspector.store)
    return InstallationSummary(
        await inspector.details(), paused, len(others.records), others.everything
    )
