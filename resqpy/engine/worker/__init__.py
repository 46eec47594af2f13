"""A process that works jobs, from the taking of a job to the writing of its end.

`Worker` and `MultiWorker` own a `Pool`, which owns the slots, the one dispatcher (`pool.py`, `reporting.py`:
the exchange with Redis) and a `Runner` (`running.py`). A job's way: `Pool` takes it, `Runner` begins it,
`execute.py` runs it with its plugins, `endings.py` says what its end writes, `Reporting` has it written.
Beside them stand the heartbeat, the wake-up, the rescue of dead processes' jobs and the stop.
"""
