-- Take a JobLock, and note who has it.
--
-- KEYS 1   the lock                 2  hash of the worker's locks, lock -> value
-- ARGV 1   value: the second at which the lock is over, as node-resque writes it
--      2   how many seconds it holds
--      3   "1": asked again, because the first reply was lost
-- Returns  1 taken, 0 somebody has it
-- Read by  Node: workerslock:<…>
local lock, holder, value, seconds = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2])
redis.call('DEL', holder .. ':') -- as in spare_memory.lua
if redis.call('SET', lock, value, 'EX', seconds, 'NX') then
  redis.call('HSET', holder, lock, value)
  -- a little longer than the lock: what a killed worker leaves goes by itself
  redis.call('EXPIRE', holder, seconds + 60)
  return 1
end
if ARGV[3] == '1' then
  local ours = redis.call('HGET', holder, lock)
  if ours and redis.call('GET', lock) == ours then return 1 end
end
return 0
