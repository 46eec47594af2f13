"""The leader: elected among all schedulers, it moves what is due and looks after the dead.

`Scheduler` owns an `Election` and its chores, each a loop of its own that writes behind the fence of the
leadership (`election.py`). Which chores there are is said where a process is put together.
"""
