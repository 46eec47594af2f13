"""The settings of a leader and of the engine's chores, with their defaults."""

from __future__ import annotations

from dataclasses import dataclass

from resqpy.engine.options import RESCUE_AFTER_S


@dataclass(frozen=True)
class LeaderOptions:
    """How a leader leads, and does its chores.

    Attributes:
        timeout_s: seconds between looks for due jobs where Redis can't wake us up.
        lease_s: seconds after which a leader that gave no sign is replaced.
        foreign_lock_ttl_s: seconds that Ruby's and Node's locks live (LOCK_TIMEOUT).
        ruby_lock_prefix: resque-scheduler's RESQUE_SCHEDULER_MASTER_LOCK_PREFIX.
        name: what our name in the locks begins with; None: the host. A random part and the pid
            follow, so that no two schedulers ever have one name.
        stuck_worker_timeout_ms: milliseconds without a ping after which a Node worker is removed;
            0: never.
        retry_stuck_jobs: put the jobs of dead Ruby and Node workers back in their queues.
        rescue_after_s: seconds without a heartbeat after which a resqpy worker is dead.
        ruby_prune_after_ms: milliseconds without a heartbeat after which a Ruby worker is dead: its shop's
            Resque.prune_interval; None: five minutes, and more where its workers are seen to beat
            seldom.
        ruby_leads: leave Ruby's lock, and all that a Ruby scheduler does under it, to Ruby: delayed jobs,
            Ruby's schedules, dead foreign workers.
        ruby_env: RAILS_ENV: which of Ruby's schedules that name an environment are run; None: none.
        ruby_timezone: of Ruby's schedules that name none; None: this machine's, as in Ruby.
    """

    timeout_s: float = 5.0
    lease_s: float = 10.0
    foreign_lock_ttl_s: int = 180
    ruby_lock_prefix: str = ""
    name: str | None = None
    stuck_worker_timeout_ms: int = 3_600_000
    retry_stuck_jobs: bool = False
    rescue_after_s: float = RESCUE_AFTER_S
    ruby_prune_after_ms: int | None = None
    ruby_leads: bool = False
    ruby_env: str | None = None
    ruby_timezone: str | None = None
