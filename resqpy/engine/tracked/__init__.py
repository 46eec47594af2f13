"""Tracked tasks: one record for each task, on top of ordinary Resque jobs.

`transitions` decides (pure), `store/records` writes, `tracked` has the verbs, `active` is what a
handler holds, `recovery` is the leader's part.
"""
