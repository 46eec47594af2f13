"""Jobs before they run: enqueued, delayed, moved, removed; and what periodic tasks are in Redis.

`Queue` is the door; `client.py` packs what it sends. Jobs are found by what they mean and removed by
their bytes (`removing.py`).
"""
