-- Shared by other scripts (`-- include limits_changed`): limits have changed, so what is parked for them may run now.
--
-- KEYS     of the including script: 2 where jobs are parked, 3 prefix of what is noted of limits
-- ARGV     none
-- Returns  (tell_parked) given the names of the limits, as keys of a table, and a channel: what is parked for them
--          has a turn, and workers are told to look; what waits for others keeps its time
local function tell_parked(names, channel)
  for _, member in ipairs(redis.pcall('ZRANGE', KEYS[2], 0, -1)) do
    local key, queue = member:match('^([^\n]*)\n(.*)$')
    if key and names[key:match('^[^=]*')] then redis.pcall('ZADD', KEYS[3] .. 'ready:' .. queue, 0, key) end
  end
  redis.pcall('PUBLISH', channel, '{"look":true}')
end
