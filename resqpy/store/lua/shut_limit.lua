-- Let no job under the name of a limit, or one of its keys, begin for a while.
--
-- KEYS 1   resqpy's limits   2  where jobs are parked   3  prefix of what is noted of limits
-- ARGV 1   name, or name=value   2  for how long (ms)
--      3   the channel on which workers are told to look for work
-- Returns  until when (ms): what was said before, where that is later
-- include due
-- include limits_changed
local now, all, field = now_ms(), redis.call('HGETALL', KEYS[1]), '{shut}' .. ARGV[1]
local till = now + tonumber(ARGV[2])
for n = 1, #all, 2 do
  if all[n]:find('^{shut}') then
    local said = tonumber(all[n + 1]) or 0
    if all[n] == field then till = math.max(till, said) end
    if said <= now then redis.call('HDEL', KEYS[1], all[n]) end
  end
end
local text = string.format('%.0f', till)
if till > now then redis.call('HSET', KEYS[1], field, text) end
tell_all_parked(ARGV[3])
return text
