"""Jobs before they run: enqueued, delayed, moved, removed; and the verbs for periodic tasks.

`Queue` is the entry point. Jobs are found by content and removed by their bytes (`removing.py`).
"""
