-- Renew the locks of all tracked tasks that one process runs, or only read their state. The time is Redis'
-- own; an expired lock is not renewed.
--
-- KEYS 1   tasks:locks   2…  the records
-- ARGV     for each record: id, token of its lock, its new lifetime from now on (ms; 0: unchanged)
-- Returns  for each: 0 the lock is somebody else's or expired, 1 it is ours, 2 it is ours and the task disabled
-- Read by  resqpy only
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local states = {}
for r = 2, #KEYS do
  local id, token, lasts = ARGV[3 * r - 5], ARGV[3 * r - 4], tonumber(ARGV[3 * r - 3])
  local lock, ends, enabled = unpack(redis.pcall('HMGET', KEYS[r], 'lock', 'locked', 'enabled'))
  if lock ~= token or (tonumber(ends) or 0) <= now then
    states[r - 1] = 0
  else
    states[r - 1] = enabled == '0' and 2 or 1
    if lasts > 0 then
      ends = string.format('%.0f', now + lasts)
      redis.call('HSET', KEYS[r], 'locked', ends)
      redis.call('ZADD', KEYS[1], 'XX', ends, id)
    end
  end
end
return states
