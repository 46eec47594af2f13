-- Free a JobLock, if it is still ours. (Runs that end in an exchange free it there.)
--
-- KEYS 1   the lock                 2  hash of the worker's locks, lock -> value
-- ARGV     none
-- Returns  1 freed, 0 it was no longer ours
-- Read by  Node: workerslock:<…>
local lock, holder = KEYS[1], KEYS[2]
local value = redis.call('HGET', holder, lock)
if not value then return 0 end
redis.call('HDEL', holder, lock)
if redis.call('GET', lock) ~= value then return 0 end
return redis.call('DEL', lock)
