"""Schedules: periodic tasks by frequency or cron, and Ruby's schedules.

A `Schedule` is a value: name, times, rule for missed times, state, and its note (stored in Redis: up to
which time it has been handled). A `Source` reads schedules from Redis and says what a fire writes; there is
one per kind. One chore of the leader plans what is due (`schedule.plan`), runs the enqueue hooks, and has
one script (`store/lua/fire.lua`) enqueue the jobs and update the note.

This package uses the store, and knows queues, hooks and elections only as two small protocols in
`chore.py`. A new kind of schedule is a class with the five members of `Source`, and a line in
`engine/scheduler/schedule_chores.py`.
"""
