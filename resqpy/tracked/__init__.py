"""Tracked tasks: one record per task, on top of ordinary Resque jobs.

- Pure: `record`; `transitions` (the next state of a record), `query` (which records match).
- From outside a run: `verbs`, with `creating`, `defaults`, `finding`, `handle`, `events`, `intercepting`;
  `settling` handles tasks whose worker is gone.
- A run: `delivery` makes it, `claiming` and `run` are the lifecycle of its job; `active` is what its
  handler receives, `processing` its state; `locks` and `renewal` keep its lock; `listener` is a worker for
  one type.
- The leader: `recovery`.

`view` has the readable properties of a task. `records` writes its record, in the format of `record_fields`,
and into the sorted sets of `record_index`; the scripts are in `lua/`.
"""
