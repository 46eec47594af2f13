-- A worker claims a tracked task whose job it received; see task_take.lua.
--
-- KEYS 1   the record   2  tasks:locks   3  tasks:scheduled   4  tasks:pending   5  prefix of tasks:by:
-- ARGV 1   id   2  type   3  token of the lock
--      4   lifetime of the lock (ms) if the record has none
--      5   the channel   6  JSON of the type
-- Returns  false where there is no such record; else claimed (0/1), Redis' time (microseconds), the
--          record as field, value…
-- Read by  resqpy only

-- include free_guards

-- include task_take
return take_task(KEYS, unpack(ARGV)) or false
