-- Put jobs that are parked for a limit back to the head of their queue, the last first, so that they stay in their
-- order.
--
-- KEYS 1   where jobs are parked   2  the list   3  the queues of the key   4  the keys of the queue with a turn
--      5   the queue               6  queues
-- ARGV 1   the member of 1         2  the key    3  the queue               4  how many at most
-- Returns  how many were put back, and how many are left
-- Read by  Ruby and Node: queues, queue:<name>
local jobs = redis.call('LRANGE', KEYS[2], -tonumber(ARGV[4]), -1)
if #jobs > 0 then
  redis.call('DEL', KEYS[2] .. ':') -- as in spare_memory.lua
  redis.call('SADD', KEYS[6], ARGV[3])
  -- do first what can be refused: a job may be there twice, never nowhere
  for n = #jobs, 1, -1 do redis.call('LPUSH', KEYS[5], jobs[n]) end
  for _ = 1, #jobs do redis.call('RPOP', KEYS[2]) end
end
local left = redis.call('LLEN', KEYS[2])
if left == 0 then
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('SREM', KEYS[3], ARGV[3])
  redis.call('ZREM', KEYS[4], ARGV[2])
end
return { #jobs, left }
