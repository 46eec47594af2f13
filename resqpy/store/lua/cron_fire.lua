-- Jobs for the times at which a cron schedule has fired, and the note that these are settled: one
-- step, so that each fire happens once whoever dies when.
--
-- KEYS 1   the leader's lease (the fence)
--      2   resqpy's cron             3  periodic:last
--      4   set of queue names        5  queue:<name>
-- ARGV 1   the leader's token        2  task name
--      3   what was settled, as it was read; empty: nothing yet
--      4   what is settled with this
--      5   the time (ms) of the last of the fires; empty: none is enqueued
--      6   queue name                7  number of jobs
--      8…  the jobs; then the guards (guards.lua), asked for each
-- Returns  how many were enqueued, -1: what is settled is another by now
-- Read by  Ruby and Node: queues, queue:<name>
local fence = 1
-- include fence
local cron, last, queues, queue = KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local name, queue_name, count = ARGV[2], ARGV[6], tonumber(ARGV[7])
local position = 8 + count
local function word()
  position = position + 1
  return ARGV[position - 1]
end

-- include guards

if (redis.call('HGET', cron, name) or '') ~= ARGV[3] then return -1 end
local guards, pushed = count > 0 and read_guards() or {}, 0
for j = 8, 7 + count do
  local taken = pass(guards)
  if taken then
    local fine, problem = pcall(function()
      redis.call('SADD', queues, queue_name)
      redis.call('RPUSH', queue, ARGV[j])
    end)
    if not fine then -- the first can't be pushed, so none can: nothing is settled
      free(taken)
      return redis.error_reply(type(problem) == 'table' and problem.err or tostring(problem))
    end
    pushed = pushed + 1
  end
end
redis.call('HSET', cron, name, ARGV[4])
if ARGV[5] ~= '' then redis.call('HSET', last, name, ARGV[5]) end
return pushed
