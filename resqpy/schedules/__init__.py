"""What runs by itself: periodic tasks by frequency or cron, and Ruby's schedules.

A `Schedule` is a value: what it is called, its times, its rule for missed ones, its state, and its
note (what Redis holds of how far it is settled). A `Source` reads schedules from Redis and says what a
fire writes; there is one for each kind. One chore of the leader plans what is due (`schedule.plan`), asks
the enqueue hooks, and has one script (`store/lua/fire.lua`) enqueue the jobs and move the note.

This floor knows the store, and nothing of queues, hooks or elections but two small protocols in `chore.py`.
A new kind of schedule is a class with the five members of `Source`, and a line in
`engine/scheduler/schedule_chores.py`.
"""
