-- Hold a JobLock longer, if it is still ours: its job goes on.
--
-- KEYS 1   the lock                 2  hash of the worker's locks, lock -> value
-- ARGV 1   new value: the second at which the lock is over
--      2   how many seconds it holds from now
-- Returns  1 held, 0 it is not ours any more
-- Read by  Node: workerslock:<…>
local lock, holder, value, seconds = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2])
local ours = redis.call('HGET', holder, lock)
if not ours or redis.call('GET', lock) ~= ours then return 0 end
redis.call('DEL', holder .. ':') -- as in spare_memory.lua
redis.call('SET', lock, value, 'EX', seconds)
redis.call('HSET', holder, lock, value)
redis.call('EXPIRE', holder, seconds + 60)
return 1
