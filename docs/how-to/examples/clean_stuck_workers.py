"""Cleaning up at boot: workers whose job has run for too long are removed, their jobs fail.

The jobs of resqpy's own dead workers are taken back without this, by a scheduler or by another worker
process, which know them by their heartbeat. This is for workers of other languages.
Put it in `initializers/`.
"""

from __future__ import annotations

from resqpy import Initializer, api

OLDER_THAN_MS = 60 * 60 * 1000  # choose it longer than your longest job: the live ones go as well


class CleanStuckWorkers(Initializer):
    """Removes stuck workers, and says which."""

    async def start(self) -> None:
        """Once, before this process' own worker starts."""
        api.log.info("removing stuck workers", older_than_ms=OLDER_THAN_MS)
        cleaned = await api.tasks.clean_old_workers(OLDER_THAN_MS)
        if cleaned:
            api.log.warning("removed stuck workers", workers=sorted(cleaned))
        # Their jobs may run again; only do this with tasks that may run twice:
        # `for job in cleaned.values(): await api.tasks.retry_and_remove_failed(job)`
