-- A worker takes a tracked task whose job it was given, if the task is due and nobody runs it.
-- The time is Redis' own, so that the clocks of workers need not agree.
--
-- KEYS 1   the record       2  tasks:locks      3  tasks:scheduled    4  tasks:pending
--      5   by:modified      6  by:modified:type:<type>
--      7   prefix of by:status:<status>
-- ARGV 1   id   2  token of the lock   3  type
--      4   what stands behind a status in the name of the set of one type
--      5   how long the lock lasts (ms), where the record says nothing else
--      6   what is published            7  the channel
-- Returns  false where there is no such record; else claimed (0/1), Redis' time (microseconds), the
--          record as field, value…
-- Read by  resqpy only
local time = redis.call('TIME')
local now = time[1] .. string.format('%03d', math.floor(time[2] / 1000))
local now_us = time[1] .. string.format('%06d', time[2])
local status, due, kind, lock_ms, created, started, lock = unpack(redis.call('HMGET', KEYS[1],
  'status', 'next', 'type', 'lock_ms', 'created', 'started', 'lock'))
if not status then return false end
if lock == ARGV[2] then -- the reply of the first time was lost
  return { 1, now_us, redis.call('HGETALL', KEYS[1]) }
end

local waits = status == 'pending' or (status == 'scheduled' and tonumber(due) <= tonumber(now))
if not (waits and kind == ARGV[3]) then
  return { 0, now_us, redis.call('HGETALL', KEYS[1]) }
end

local ends = string.format('%.0f', tonumber(now) + tonumber(lock_ms or ARGV[5]))
redis.call('HSET', KEYS[1], 'status', 'running', 'lock', ARGV[2], 'locked', ends,
  'delivered', now, 'updated', now_us, 'changed', now)
if not started then redis.call('HSET', KEYS[1], 'started', now) end
redis.call('HINCRBY', KEYS[1], 'v', 1)
for _, of in ipairs({ '', ARGV[4] }) do
  redis.call('ZREM', KEYS[7] .. status .. of, ARGV[1])
  redis.call('ZADD', KEYS[7] .. 'running' .. of, created, ARGV[1])
end
redis.call('ZREM', status == 'pending' and KEYS[4] or KEYS[3], ARGV[1])
redis.call('ZADD', KEYS[2], ends, ARGV[1])
redis.call('ZADD', KEYS[5], now_us, ARGV[1])
redis.call('ZADD', KEYS[6], now_us, ARGV[1])
redis.call('PUBLISH', ARGV[7], ARGV[6])
return { 1, now_us, redis.call('HGETALL', KEYS[1]) }
