-- Take a JobLock, and record its holder.
--
-- KEYS 1   the lock                 2  hash of the worker's locks, lock -> value; '' -> run_at of its run
--      3   the worker's record
-- ARGV 1   lifetime in seconds; its value is the second at which it expires, by Redis' clock
--      2   "1": repeated, because the first reply was lost
--      3   "1": of a key of Ruby's: what it left with a second in the past is taken over
--      4   the beginning of the record of the run that takes it; empty: it has no record
-- Returns  1 taken, 0 somebody else has it, or the job: nobody would free the lock of a worker that is gone
-- Read by  Node: workerslock:<…>

-- include due

local lock, holder, seconds = KEYS[1], KEYS[2], tonumber(ARGV[1])
local value = lock_value(seconds)
if ARGV[4] ~= '' and redis.pcall('GETRANGE', KEYS[3], 0, #ARGV[4] - 1) ~= ARGV[4] then return 0 end
redis.call('DEL', holder .. ':') -- as in spare_memory.lua
if ARGV[3] == '1' then
  local held = redis.call('GET', lock)
  local ends = held and tonumber(held:match('^%d+$'))
  if ends and ends < math.floor(now_ms() / 1000) then redis.call('DEL', lock) end
end
if redis.call('SET', lock, value, 'EX', seconds, 'NX') then
  local run = ARGV[4]:match(',"run_at":"([^"]*)"')
  local noted = redis.pcall('HSET', holder, lock, value, unpack(run and { '', run } or {}))
  if type(noted) == 'table' then
    redis.call('DEL', lock) -- nobody would free it
    return redis.error_reply(noted.err)
  end
  -- a little longer than the lock: what a killed worker leaves expires by itself
  redis.call('EXPIRE', holder, seconds + 60)
  return 1
end
if ARGV[2] == '1' then
  local ours = redis.call('HGET', holder, lock)
  if ours and redis.call('GET', lock) == ours then return 1 end
end
return 0
