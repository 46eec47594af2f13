"""What is wrong with an installation, why a task does not run, and what there is, as values for whoever shows it.

- `doctor` looks at an installation, `contract` at its jobs with a project's tasks in hand: both return `Problem`s.
- `explaining` returns `Finding`s: why the jobs of one task do not run.
- `workers` and `views` are what is there: workers, jobs, failed jobs, as JSON.

Nothing here prints or asks. What is needed of a project (its tasks, its options) is given as a value.
"""
