"""What is wrong with an installation, why a task does not run, and what there is, as values for whoever shows it.

- `doctor` looks at an installation, `contract` at its jobs with a project's tasks in hand: both return `Problem`s.
- `explaining` returns `Finding`s: why the jobs of one task do not run.
- `workers`, `leaders` and `views` are what is there: workers, the whole at a glance, who leads, jobs, as JSON.
- `repair` puts `Problem`s right and keeps what takes that back.

Nothing here prints or asks. What is needed of a project (its tasks, its options) is given as a value.
"""
