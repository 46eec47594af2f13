"""What is in Redis, read without changing it, and the acts that repair it.

`Inspector` reads; `Resque` puts all verbs into one object. What is odd is skipped and told, never a reason
for a view to fail.
"""
