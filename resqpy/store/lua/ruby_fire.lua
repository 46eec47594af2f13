-- The job of a schedule of Ruby's, and the note when it fires next, in one step.
--
-- KEYS 1-3 the fence: resqpy's lease, Ruby's lock, Node's lock
--      4   persistent_schedules       5  delayed:last_enqueued_at   6  resqpy's ruby:next
--      7   set of queue names         8  queue:<name>
-- ARGV 1   the leader's token         2  name of the schedule       3  its entry, as it was read
--      4   its note, as it was read; empty: it had none
--      5   its new note               6  the time for last_enqueued_at; empty: it does not fire
--      7   queue name                 8  the job; empty: a hook forbids it
--      9…  guards (guards.lua)
-- Returns  1 enqueued, 0 not, -1 its entry or its note has changed meanwhile
-- Read by  Ruby and Node: queues, queue:<name>; Ruby: delayed:last_enqueued_at
local fence = 3
-- include fence
local name = ARGV[2]
local position = 9
local function word()
  position = position + 1
  return ARGV[position - 1]
end

-- include guards

if redis.call('HGET', KEYS[4], name) ~= ARGV[3] then return -1 end
if (redis.call('HGET', KEYS[6], name) or '') ~= ARGV[4] then return -1 end
local taken = ARGV[8] ~= '' and pass(read_guards())
if taken then
  local fine, problem = pcall(function()
    redis.call('SADD', KEYS[7], ARGV[7])
    redis.call('RPUSH', KEYS[8], ARGV[8])
  end)
  if not fine then
    free(taken)
    return redis.error_reply(type(problem) == 'table' and problem.err or tostring(problem))
  end
end
redis.call('HSET', KEYS[6], name, ARGV[5])
if ARGV[6] ~= '' then redis.call('HSET', KEYS[5], name, ARGV[6]) end
return taken and 1 or 0
