-- The one job of a chain enters its queue, in the step in which the chain's next time is taken away.
--
-- KEYS 1…  the fence (as many keys as ARGV 2 says); then
--      +1  resqpy's periodic:due   +2  periodic:out   +3  periodic:last
--      +4  set of queue names      +5  queue:<name>
-- ARGV 1   the leader's token      2  number of fence keys
--      3   task name               4  the time (ms) at which it is due, as it was read
--      5   the time for which it is enqueued
--      6   the time at which it is due next if it is not enqueued
--      7   queue name              8  the job; empty: a hook forbids it
--      9…  guards (guards.lua)
-- Returns  1 enqueued, 0 forbidden: due again later, -1 it is not due at that time any more
-- Read by  Ruby and Node: queues, queue:<name>
local fence = tonumber(ARGV[2])
-- include fence
local due, out, last, queues, queue =
  KEYS[fence + 1], KEYS[fence + 2], KEYS[fence + 3], KEYS[fence + 4], KEYS[fence + 5]
local name, expected, at, again, queue_name, job =
  ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local position = 9
local function word()
  position = position + 1
  return ARGV[position - 1]
end

-- include guards

local score = redis.call('ZSCORE', due, name)
if not score or tonumber(score) ~= tonumber(expected) then return -1 end
local taken = job ~= '' and pass(read_guards())
if not taken then
  redis.call('ZADD', due, again, name)
  return 0
end
local fine, problem = pcall(function()
  redis.call('SADD', queues, queue_name)
  redis.call('RPUSH', queue, job)
end)
if not fine then
  free(taken)
  return redis.error_reply(type(problem) == 'table' and problem.err or tostring(problem))
end
redis.call('ZREM', due, name)
redis.call('HSET', out, name, at)
redis.call('HSET', last, name, at)
return 1
