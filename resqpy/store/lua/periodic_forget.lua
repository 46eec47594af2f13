-- Forget periodic tasks that no process has announced for long.
--
-- KEYS 1   the leader's lease (the fence)
--      2   resqpy's periodic:seen    3  periodic:due     4  periodic:paused
--      5…  the hashes that have tasks as their fields
-- ARGV 1   the leader's token        2  forget what was last announced before this time (ms)
-- Returns  the names of the tasks
-- Read by  only resqpy
local fence = 1
-- include fence
local names = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', '(' .. ARGV[2], 'LIMIT', 0, 500)
for _, name in ipairs(names) do
  redis.call('ZREM', KEYS[2], name)
  redis.call('ZREM', KEYS[3], name)
  redis.call('SREM', KEYS[4], name)
  for k = 5, #KEYS do redis.call('HDEL', KEYS[k], name) end
end
return names
