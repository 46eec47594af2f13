"""When a job that is lost with its worker again and again is called a poison pill."""

from __future__ import annotations

MOST_RESCUES = 3  # the loss that sends a job to the failed list, if it was alone in its process
RUNS_ALONE_AFTER = 2  # losses after which a job runs alone, so that it is known who kills
