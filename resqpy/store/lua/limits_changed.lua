-- Shared by other scripts (`-- include limits_changed`): limits have changed, so whatever is parked may run now.
--
-- KEYS     of the including script: 2 where jobs are parked, 3 prefix of what is noted of limits
-- ARGV     none
-- Returns  (tell_all_parked) gives all of it a turn, and tells workers on a channel
local function tell_all_parked(channel)
  for _, member in ipairs(redis.pcall('ZRANGE', KEYS[2], 0, -1)) do
    local key, queue = member:match('^([^\n]*)\n(.*)$')
    if key then redis.pcall('ZADD', KEYS[3] .. 'ready:' .. queue, 0, key) end
  end
  redis.pcall('PUBLISH', channel, '{"look":true}')
end
