"""A process that runs jobs, from the claim of a job to the writing of its end.

`Worker` and `MultiWorker` own a `Pool`, which owns the slots, the one dispatcher (`pool.py`,
`reporting.py`: the exchange with Redis) and a `Runner` (`running.py`). The way of a job: `Pool` claims it,
`Runner` starts it, `execute.py` runs it with its plugins, `endings.py` decides what its end writes,
`Reporting` has it written. Besides there are the heartbeat, the wake-up, the rescue of dead processes' jobs
and the stop.
"""
