-- Put jobs that are parked for a limit back to the head of their queue, the last first, so that they stay in their
-- order.
--
-- KEYS 1   where jobs are parked   2  the list   3  the queues of the key   4  the keys of the queue with a turn
--      5   the queue               6  queues
-- ARGV 1   the member of 1         2  the key    3  the queue               4  how many at most
-- Returns  how many were put back, and how many are left
-- Read by  Ruby and Node: queues, queue:<name>
local wanted = math.min(tonumber(ARGV[4]), redis.call('LLEN', KEYS[2]))
if wanted > 0 then
  redis.call('DEL', KEYS[2] .. ':') -- as in spare_memory.lua
  redis.call('SADD', KEYS[6], ARGV[3])
  for _ = 1, wanted do redis.call('LMOVE', KEYS[2], KEYS[5], 'RIGHT', 'LEFT') end
end
local left = redis.call('LLEN', KEYS[2])
if left == 0 then
  redis.pcall('ZREM', KEYS[1], ARGV[1])
  redis.pcall('SREM', KEYS[3], ARGV[3])
  redis.pcall('ZREM', KEYS[4], ARGV[2])
end
return { wanted, left }
