"""When a job that is lost with its worker again and again is called a poison pill."""

from __future__ import annotations

MOST_RESCUES = 3  # after so many, the next loss sends a job to the failed list, if it was alone
RUNS_ALONE_AFTER = 2  # losses after which a job runs alone, so that it is known who kills
RESCUE_AFTER_S = 30.0  # without a sign of life, after which a process is dead
