"""Diagnosis of an installation, returned as values: what is wrong, why a task does not run, and what
exists.

- `doctor` checks an installation, `contract` checks its jobs against a project's tasks: both return
  `Problem`s.
- `explaining` returns `Finding`s: why the jobs of one task do not run.
- `workers`, `leaders` and `views` describe what exists: workers, a summary, who leads, jobs, as JSON.
- `repair` fixes `Problem`s and records how to undo that.

Nothing here prints or prompts. What is needed of a project (its tasks, its options) is passed as a value.
"""
