"""The leader: elected among all schedulers, it promotes due jobs and rescues those of dead workers.

`Scheduler` owns an `Election` and its chores, each with its own loop and with writes fenced by the
leadership (`election.py`). The chores are chosen where a process is put together.
"""
