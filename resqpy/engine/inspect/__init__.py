"""Reading what is in Redis, and repairing it.

`Inspector` reads; `Resque` combines all verbs in one object. Malformed data is skipped and reported; it
never makes a view fail.
"""
