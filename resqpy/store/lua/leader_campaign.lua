-- Take or renew the lease of resqpy's leader and, as its holder, both foreign locks or none of them. A foreign
-- lock that is recorded as taken by a resqpy leader may be taken over: the caller holds the lease here, so the
-- other leader's lease is gone.
--
-- KEYS 1   the lease   2  its epoch   3  the record of the foreign locks   4… the foreign locks
-- ARGV 1   our name    2  milliseconds of the lease     3  seconds of the foreign locks
-- Returns  leading (0/1), the leader's token, milliseconds until its lease ends, foreign locks held
--          (0/1), the other holder of one or false, Redis' time (seconds, microseconds)
-- Read by  Ruby: its master lock; Node: its leader lock
-- include spare_memory

local time = redis.call('TIME')
local recorded = redis.pcall('GET', KEYS[3])
if type(recorded) == 'table' then recorded = false end

local function holder(lock)
  local value = redis.pcall('GET', lock)
  if type(value) == 'table' then return 'a key that is no lock' end
  return value
end

local function stranger(token)
  for k = 4, #KEYS do
    local value = holder(KEYS[k])
    if value and value ~= token and value ~= recorded then return value end
  end
  return false
end

-- Increment; if the value is junk, a number that no leader can have had yet.
local function next_epoch()
  local epoch = redis.pcall('INCR', KEYS[2])
  if type(epoch) == 'number' then return epoch end
  if redis.call('TYPE', KEYS[2]).ok ~= 'string' then return redis.call('INCR', KEYS[2]) end
  redis.call('SET', KEYS[2], time[1])
  return time[1]
end

local token = redis.call('GET', KEYS[1])
-- a lease without an expiry was not written by a leader: give it one
if token and redis.call('PTTL', KEYS[1]) == -1 then redis.call('SET', KEYS[1], token, 'PX', ARGV[2]) end
if token and token:match('^(.*)/%d+$') ~= ARGV[1] then
  return { 0, token, redis.call('PTTL', KEYS[1]), 0, stranger(token), time[1], time[2] }
end
if not token then token = ARGV[1] .. '/' .. next_epoch() end
redis.call('SET', KEYS[1], token, 'PX', ARGV[2])

local other = stranger(token)
if other then
  for k = 4, #KEYS do
    local value = holder(KEYS[k])
    if value and (value == token or value == recorded) then redis.call('DEL', KEYS[k]) end
  end
  redis.call('DEL', KEYS[3])
else
  for k = 4, #KEYS do redis.call('SET', KEYS[k], token, 'EX', ARGV[3]) end
  redis.call('SET', KEYS[3], token, 'EX', 2 * ARGV[3])
end
return { 1, token, ARGV[2], other and 0 or 1, other, time[1], time[2] }
