-- Gives locks that never expire an expiry: the time in their value if it is in the future, else a short one.
--
-- KEYS     locks
-- ARGV 1   seconds of the short expiry
-- Returns  how many had no expiry
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
