"""Tasks, threads and event loops that users' code shares with us: no I/O, only who waits for whom."""
