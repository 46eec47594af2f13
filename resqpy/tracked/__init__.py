"""Tracked tasks: one record for each task, on top of ordinary Resque jobs.

- Pure: `record`; `transitions` say what becomes of it, `query` which are meant.
- From outside a run: `verbs`, with `creating`, `defaults`, `finding`, `handle`, `events`, `intercepting`;
  `settling` takes the steps that anybody may have to take.
- A run: `delivery` makes it, `claiming` and `run` are the lifecycle of its job; `active` is what its handler
  holds, `processing` how far it is; `locks` and `renewal` keep its lock; `listener` is a worker for one type.
- The leader: `recovery`.

What is seen of a task is `view`. `records` writes its record, as `record_fields` has it, into the sorted sets of
`record_index`; the scripts stand in `lua/`.
"""
