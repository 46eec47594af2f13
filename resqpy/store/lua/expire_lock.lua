-- Gives locks without an end one: that which their value names, if it is to come; else a short one.
--
-- KEYS     locks
-- ARGV 1   seconds of the short end
-- Returns  how many had no end
-- Read by  Ruby and Node: locks of plugins and of leaders
local now = tonumber(redis.call('TIME')[1])
local given = 0

for _, key in ipairs(KEYS) do
  if redis.call('PTTL', key) == -1 and redis.call('TYPE', key).ok == 'string' then
    local ends = tonumber(redis.call('GET', key))
    if ends and ends > now and ends < now + 315360000 then
      redis.call('EXPIREAT', key, math.floor(ends))
    else
      redis.call('EXPIRE', key, ARGV[1])
    end
    given = given + 1
  end
end

return given
