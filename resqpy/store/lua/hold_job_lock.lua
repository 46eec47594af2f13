-- Extend a JobLock, if it is still ours: its job is still running.
--
-- KEYS 1   the lock                 2  hash of the worker's locks, lock -> value
-- ARGV 1   how many seconds it holds from now; see take_job_lock.lua
-- Returns  1 extended, 0 it is no longer ours
-- Read by  Node: workerslock:<…>

-- include due

local lock, holder, seconds = KEYS[1], KEYS[2], tonumber(ARGV[1])
local value = lock_value(seconds)
local ours = redis.call('HGET', holder, lock)
if not ours or redis.call('GET', lock) ~= ours then return 0 end
redis.call('DEL', holder .. ':') -- as in spare_memory.lua
redis.call('SET', lock, value, 'EX', seconds)
redis.call('HSET', holder, lock, value)
redis.call('EXPIRE', holder, seconds + 60)
return 1
