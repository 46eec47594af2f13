"""The settings of the scheduler, with their defaults; apart from it, for those who only look."""

from __future__ import annotations

from dataclasses import dataclass

from resqpy.engine.leader_options import LeaderOptions


@dataclass(frozen=True)
class SchedulerOptions(LeaderOptions):
    """How a scheduler leads and what it does.

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
        task_lost_after_ms: milliseconds that a tracked task may be pending without a job anywhere
            before that counts as an attempt whose outcome nobody knows.
        ruby_prune_after_ms: milliseconds without a heartbeat after which a Ruby worker is dead: its shop's
            Resque.prune_interval; None: five minutes, and more where its workers are seen to beat
            seldom.
        ruby_leads: leave Ruby's lock, and all that a Ruby scheduler does under it, to Ruby: delayed jobs,
            Ruby's schedules, dead foreign workers.
        ruby_env: RAILS_ENV: which of Ruby's schedules that name an environment are run; None: none.
        ruby_timezone: of Ruby's schedules that name none; None: this machine's, as in Ruby.
    """

    task_lost_after_ms: int = 300_000
