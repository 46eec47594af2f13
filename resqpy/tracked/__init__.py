"""Tracked tasks: one record for each task, on top of ordinary Resque jobs.

- Pure: `creating` makes a record, `transitions` what becomes of it, `next_run`, `verdict`, `query`.
- From outside a run: `tracked` has the verbs, with `finding`, `selection`, `handle`, `intercepting`;
  `asking` asks the plugins of a new task; `settling` takes the steps that anybody may have to take.
- A run: `claiming`, `delivery`, `tracked_run`; `active` is what its handler holds, `writing` and
  `finishing` what that writes, `processing` how far it is; `lock`, `lock_watch`, `renewal` keep its lock,
  `hastening` its next run.
- The leader: `recovery`, `lost`, with `failed_entries`.

What is seen of a task is `view`, made of `task_times`, `task_policy`, `task_json`; `tracked/records.py`
writes its record, `tracked/task_locks.py` takes it.
"""
