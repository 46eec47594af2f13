"""The table of mutants: a feature, the line that makes it, the line that breaks it, the test that must fail."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """One line of one file, broken.

    Attributes:
        feature: what stops working.
        path: the file, from the project's folder.
        line: the whole line, without the space before it; there is one such line in the file.
        broken: what stands there instead.
        test: fails then, and passes otherwise.
    """

    feature: str
    path: str
    line: str
    broken: str
    test: str


MUTANTS = (
    Mutant(
        "jobs of a queue run in the order in which they were enqueued",
        "resqpy/store/queues.py",
        'commands += (("SADD", keys.queues, queue), (word, keys.queue(queue), *raws))',
        'commands += (("SADD", keys.queues, queue), ("LPUSH", keys.queue(queue), *raws))',
        "tests/engine/test_queue.py::test_many_keep_their_order",
    ),
    Mutant(
        "what is no job is refused, and nothing of many is enqueued",
        "resqpy/engine/queue/queue.py",
        "_check_shape(job)",
        "str(job)",
        "tests/engine/test_queue.py::test_what_is_no_job_among_many",
    ),
    Mutant(
        "queues in order of priority",
        "resqpy/store/lua/exchange_take.lua",
        "for q = 1, #KEYS - FIXED do",
        "for q = #KEYS - FIXED, 1, -1 do",
        "tests/seeds/test_actionhero_examples.py::test_high_before_low",
    ),
    Mutant(
        "`*` works all queues in the order of their names",
        "resqpy/engine/worker/queues.py",
        'everything = sorted(known, key=lambda name: name.encode("utf-8", "surrogateescape"))',
        "everything = sorted(known, reverse=True)",
        "tests/engine/test_queue_names.py::test_what_a_worker_works",
    ),
    Mutant(
        "a delayed job is not promoted before its time",
        "resqpy/store/lua/promote.lua",
        "local now = tonumber(time[1])",
        "local now = tonumber(time[1]) + 1000000",
        "tests/engine/test_promotion.py::test_what_is_not_due_stays",
    ),
    Mutant(
        "due jobs keep their order",
        "resqpy/store/lua/promote.lua",
        "local item = redis.pcall('LPOP', lists .. member)",
        "local item = redis.pcall('RPOP', lists .. member)",
        "tests/engine/test_promotion.py::test_due_jobs_enter_their_queues_in_order_with_their_bytes",
    ),
    Mutant(
        "seconds are refused where milliseconds are meant",
        "resqpy/base/when.py",
        "if ms < SMALLEST_MS and ms is value:",
        "if ms < 0 and ms is value:",
        "tests/framework/test_tasks_api.py::test_seconds_are_refused_where_milliseconds_are_meant",
    ),
    Mutant(
        "a periodic task is one instance in the cluster",
        "resqpy/store/periodic.py",
        '("HSET", keys.periodic_out, name, at_ms),',
        '("ZADD", keys.periodic_due, again_ms, name),',
        "tests/engine/test_periodic.py::test_one_at_a_time_however_many_nodes",
    ),
    Mutant(
        "a second process that starts begins no second chain of a periodic task",
        "resqpy/store/lua/periodic_announce.lua",
        "begins = redis.call('HEXISTS', out, name) == 0 and redis.call('ZADD', due, 'NX', now, name) == 1",
        "begins = redis.call('ZADD', due, now, name) >= 0",
        "tests/engine/test_periodic.py::test_boot_enqueues_once_and_a_second_boot_nothing",
    ),
    Mutant(
        "times of a cron that nobody led are left out, unless the task says otherwise",
        "resqpy/schedules/schedule.py",
        'if rule.what == "skip":',
        "if rule.what is None:",
        "tests/engine/test_cron_chore.py::test_missed_fires",
    ),
    Mutant(
        "an input that is required is demanded",
        "resqpy/framework/tasks/inputs.py",
        "if declared.is_required:",
        "if declared.required is False:",
        "tests/framework/test_inputs.py::test_all_that_is_wrong_is_told_at_once",
    ),
    Mutant(
        "inputs are checked before a run, whoever enqueued them",
        "resqpy/framework/tasks/arguments.py",
        "return task.inputs.check(by_name(task, args))",
        "return dict(by_name(task, args))",
        "tests/framework/test_run.py::test_what_a_foreign_client_enqueues_is_checked_before_the_run",
    ),
    Mutant(
        "typed inputs are JSON in Redis, in one form",
        "resqpy/base/json_forms.py",
        'return f"{_clock_text(value.astimezone(UTC).replace(tzinfo=None))}Z"',
        'return f"{_clock_text(value.replace(tzinfo=None))}Z"',
        "tests/framework/test_typed_inputs.py::test_any_value_comes_back",
    ),
    Mutant(
        "run gets values of the types that it declares",
        "resqpy/framework/tasks/inputs.py",
        "given[name] = value = self._reads[name](given[name])",
        "value = self._reads[name](given[name])",
        "tests/framework/test_typed_jobs.py::test_each_way_of_enqueueing_writes_the_same",
    ),
    Mutant(
        "what is wrong in a typed input is told with its place",
        "resqpy/framework/tasks/readers.py",
        "return Mismatch(*(each._replace(path=(step, *each.path)) for each in self.faults))",
        "return Mismatch(*self.faults)",
        "tests/framework/test_typed_inputs.py::test_what_is_wrong_is_told_with_its_place",
    ),
    Mutant(
        "an error of a task fails its job",
        "resqpy/engine/worker/endings.py",
        "return [*commands, *failures.push_commands(run.store, run.queue, entry)]",
        "return commands",
        "tests/framework/test_run.py::test_raising_fails_the_job",
    ),
    Mutant(
        "a failed job that is tried again leaves the failed list",
        "resqpy/store/lua/settle_failed.lua",
        "redis.call('LREM', KEYS[1], marked, GONE)",
        "redis.call('LREM', KEYS[1], 0, 'none')",
        "tests/seeds/test_actionhero_examples.py::test_failed_jobs",
    ),
    Mutant(
        "a failed job is tried again as often as it says",
        "resqpy/plugins/retry.py",
        "if not self._again(run, error, Attempts(count, self.policy.left(count))):",
        "if not self._again(run, error, Attempts(count, self.policy.left(count - 1))):",
        "tests/plugins/test_retry.py::test_the_limit_counts_attempts_and_the_last_error_fails_the_job",
    ),
    Mutant(
        "errors that are not to be tried again are not",
        "resqpy/plugins/retry.py",
        "return not self.retry_exceptions or isinstance(error, self.retry_exceptions)",
        "return True",
        "tests/plugins/test_retry.py::test_errors_can_be_chosen",
    ),
    Mutant(
        "what an enqueue hook changes is enqueued",
        "resqpy/engine/queue/queue.py",
        "job.args = self._changed(plugin, job, given)",
        "job.args = deepcopy(given)",
        "tests/engine/test_changing_hooks.py::test_what_a_hook_changes_is_enqueued",
    ),
    Mutant(
        "QueueLock: one of equal jobs waits",
        "resqpy/plugins/locks.py",
        'return (Guard("lock", self._key(keys, job), self.lock_timeout_s),)',
        "return ()",
        "tests/plugins/test_queue_lock.py::test_of_equal_jobs_one_is_enqueued",
    ),
    Mutant(
        "JobLock: one of equal jobs runs",
        "resqpy/plugins/locks.py",
        "if not await self._taken(run, key):",
        "if await self._taken(run, key) is None:",
        "tests/plugins/test_job_lock.py::test_two_blocked_copies_are_both_delayed_and_the_lock_stays",
    ),
    Mutant(
        "DelayQueueLock: none is enqueued while an equal one is delayed",
        "resqpy/store/lua/guards.lua",
        "fine = not waits(guard[2])",
        "fine = true",
        "tests/plugins/test_delay_queue_lock.py::test_a_delayed_job_is_not_enqueued",
    ),
    Mutant(
        "the first plugin is the outermost",
        "resqpy/engine/worker/execute.py",
        "for plugin in reversed(plugins):",
        "for plugin in plugins:",
        "tests/plugins/test_plugin_chain.py::test_the_first_plugin_is_the_outermost",
    ),
    Mutant(
        "middleware may forbid a run",
        "resqpy/framework/tasks/middleware.py",
        "if await _result(self._middleware.pre_processor(call)) is False:",
        "if await _result(self._middleware.pre_processor(call)) is None:",
        "tests/framework/test_middleware.py::test_pre_processor_skips_and_fails",
    ),
    Mutant(
        "a time limit ends a job",
        "resqpy/engine/worker/execute.py",
        "if definition.time_limit_s is None and not run.ends:",
        "if not run.ends:",
        "tests/engine/test_worker.py::test_a_time_limit",
    ),
    Mutant(
        "at most once: what was stopped is not repeated",
        "resqpy/engine/worker/execute.py",
        "return failure(run.error) if once and run.performed else RETURNED",
        "return RETURNED",
        "tests/engine/test_stop.py::test_at_most_once_goes_to_failed_if_it_started",
    ),
    Mutant(
        "a worker that stops puts unfinished jobs back",
        "resqpy/engine/worker/endings.py",
        "return [_returned(run, outcome)]",
        "return []",
        "tests/engine/test_stop.py::test_unfinished_jobs_go_back_in_their_old_order",
    ),
    Mutant(
        "jobs of a dead worker return to their queues",
        "resqpy/store/lua/rescue.lua",
        "redis.call(ARGV[6], KEYS[6], job)",
        "redis.call('EXISTS', KEYS[6])",
        "tests/engine/test_rescue.py::test_jobs_return_to_the_head_in_their_old_order",
    ),
    Mutant(
        "an exchange that arrives late takes nothing",
        "resqpy/store/lua/exchange_find.lua",
        "if fenced > 0 then",
        "if fenced > 9 then",
        "tests/store/test_fence.py::test_an_exchange_that_is_late_takes_nothing",
    ),
    Mutant(
        "a record that is not its own stays as it was",
        "resqpy/store/lua/exchange_take.lua",
        "if type(old) == 'string' then redis.call('SET', key, old) end",
        "if type(old) == 'number' then redis.call('SET', key, old) end",
        "tests/store/test_exchange.py::test_replacing_does_what_reporting_and_taking_do",
    ),
    Mutant(
        "pausing all workers pauses them",
        "resqpy/store/lua/exchange_take.lua",
        "if paused == 0 and last_slot > 0 then",
        "if last_slot > 0 then",
        "tests/store/test_exchange.py::test_paused",
    ),
    Mutant(
        "one of many schedulers leads",
        "resqpy/store/lua/leader_campaign.lua",
        "if token and token:match('^(.*)/%d+$') ~= ARGV[1] then",
        "if token and token == ARGV[1] then",
        "tests/engine/test_election.py::test_one_of_many_leads",
    ),
    Mutant(
        "more task processors where all are busy",
        "resqpy/engine/worker/multi_worker.py",
        "if share > _BUSY:",
        "if share > 1:",
        "tests/engine/test_autoscale.py::test_the_rule",
    ),
    Mutant(
        "a tracked task keeps its result",
        "resqpy/tracked/transitions.py",
        "return _run_over(record, ending, succeeded=True, error=None, result=ending.result, entry=False)",
        "return _run_over(record, ending, succeeded=True, error=None, result=None, entry=False)",
        "tests/tracked/test_recurring.py::test_by_an_interval",
    ),
    Mutant(
        "a tracked task is removed when its retention is over",
        "resqpy/tracked/transitions.py",
        "return None if record.retain_ms is None else now_ms + record.retain_ms",
        "return None",
        "tests/tracked/test_recovery.py::test_retention",
    ),
    Mutant(
        "a variable wins over a config file",
        "resqpy/framework/config/merge.py",
        'self._keep(path, value, f"environment {name}")',
        'self._keep(path, self.values[path], f"environment {name}")',
        "tests/framework/test_config.py::test_variables_win_over_files_and_flags_over_all",
    ),
    Mutant(
        "secrets among inputs are not logged",
        "resqpy/base/masking.py",
        "str(key): HIDDEN if self.hides(str(key)) else self.shown(each, depth + 1)",
        "str(key): self.shown(each, depth + 1)",
        "tests/framework/test_log.py::test_the_filter",
    ),
    Mutant(
        "passwords in URLs are not shown",
        "resqpy/base/masking.py",
        "text = _LOGIN.sub(_without_password, text)",
        "text = str(text)",
        "tests/unit/test_masking.py::test_credentials_are_known_by_their_shape",
    ),
    Mutant(
        "a dry run changes nothing",
        "resqpy/cli/selection/changing.py",
        "seen = run(dry=True)",
        "seen = run(dry=False)",
        "tests/cli/test_changing.py::test_a_dry_run_says_what_is_done",
    ),
    Mutant(
        "what is delayed is due by Redis' clock",
        "resqpy/store/lua/due.lua",
        "return time[1] * 1000 + math.floor(time[2] / 1000)",
        "return 0",
        "tests/engine/test_wrong_clocks.py::test_a_job_in_a_minute",
    ),
    Mutant(
        "DelayQueueLock at promotion: of equal jobs of a second one runs",
        "resqpy/store/lua/delayed_item.lua",
        "if stands(base .. member, item) then return true end",
        "if stands(base .. member, item) then return false end",
        "tests/plugins/test_delay_queue_lock.py::test_equal_jobs_of_one_second",
    ),
    Mutant(
        "a job of a task that only newer workers know is left to them",
        "resqpy/engine/worker/newer.py",
        "return name in self._others",
        "return False",
        "tests/engine/test_newer.py::test_jobs_of_a_newer_version_reach_a_worker_of_it",
    ),
    Mutant(
        "where no scheduler runs, a worker rescues",
        "resqpy/engine/worker/wakeup.py",
        "if beat.unwatched or self._clock.monotonic() < self._doubts_until_s:",
        "if beat is None:",
        "tests/engine/test_rescuer.py::test_a_worker_alone",
    ),
    Mutant(
        "a log line that was lost is counted and told",
        "resqpy/framework/logs/writer.py",
        'self.lost += data.count(b"\\n")',
        "self.lost += 0",
        "tests/framework/test_log_writer.py::test_what_is_lost_is_counted_and_told",
    ),
    Mutant(
        "a query by a range of times",
        "resqpy/tracked/handle.py",
        "return time_us is not None and self.since <= time_us < self.until",
        "return time_us is not None and self.since <= time_us",
        "tests/tracked/test_query_ranges.py::test_what_a_walk_finds",
    ),
    Mutant(
        "snoozes of a job are counted",
        "resqpy/engine/worker/endings.py",
        "if snoozed := run.snoozed + (outcome.kind is OutcomeKind.SNOOZED):",
        "if snoozed := run.snoozed:",
        "tests/plugins/test_snooze.py::test_so_often_and_no_more",
    ),
    Mutant(
        "a snooze leaves Retry's count as it is, and longer than the delay",
        "resqpy/plugins/retry.py",
        "seconds = self.count_s + delay_ms // 1000",
        "seconds = self.count_s",
        "tests/plugins/test_snooze.py::test_attempts_and_their_delays_are_as_without",
    ),
    Mutant(
        "a rescue forgets no snoozes",
        "resqpy/engine/scheduler/rescue.py",
        "note = noted._replace(rescues=rescued + 1).text(now_ms // 1000)",
        "note = JobNote(rescued + 1).text(now_ms // 1000)",
        "tests/engine/test_rescue.py::test_snoozes_are_not_forgotten",
    ),
    Mutant(
        "snoozes of a tracked task are counted",
        "resqpy/tracked/transitions.py",
        "snoozed=record.snoozed + ending.snoozed,",
        "snoozed=record.snoozed,",
        "tests/tracked/test_snooze.py::test_the_record_counts",
    ),
    Mutant(
        "a schedule that somebody has changed is not overwritten",
        "resqpy/store/ruby_schedule.py",
        'expected = [Expected("HGET", keys.persistent_schedules, name, old)]',
        "expected: list[Expected] = []",
        "tests/engine/test_ruby_schedule.py::test_what_has_changed_meanwhile_is_not_overwritten",
    ),
    Mutant(
        "who leaves resqpy gets the jobs of dead workers back",
        "resqpy/diagnosis/leaving.py",
        "chore = RescueChore(self._store, options.rescue_after_s, self._tell)",
        "chore = RescueChore(self._store, 10_000_000, self._tell)",
        "tests/cli/test_leave.py::test_all_jobs_are_put_back",
    ),
    Mutant(
        "loggers that were bound before follow another level",
        "resqpy/framework/logs/log.py",
        "_BoundLogger.__bases__ = (structlog.make_filtering_bound_logger(number),)",
        "structlog.make_filtering_bound_logger(number)",
        "tests/framework/test_orders.py::test_it_logs_more_for_a_time",
    ),
)
