-- Let no job under the name of a limit, or one of its keys, begin for a while, or end that before its time. What is parked has no turn by that; the
-- exchange that sees that it is shut gives it one when the time is over.
--
-- KEYS 1   resqpy's limits   2  where jobs are parked   3  prefix of what is noted of limits
-- ARGV 1   name, or name=value   2  for how long (ms); empty: end that   3  the channel on which workers look
-- Returns  until when (ms): what was said before, of the name too, where that is later; of what is ended until when
--          it was, 0: it was not shut
-- include due
-- include limits_changed
if ARGV[2] == '' then
  local was = redis.call('HGET', KEYS[1], '{shut}' .. ARGV[1])
  if not was then return 0 end
  redis.call('HDEL', KEYS[1], '{shut}' .. ARGV[1])
  tell_parked({ [ARGV[1]:match('^[^=]*')] = true }, ARGV[3])
  return was
end
local now, all, field = now_ms(), redis.call('HGETALL', KEYS[1]), '{shut}' .. ARGV[1]
local till = now + tonumber(ARGV[2])
local shut, of_name = till, field:match('^[^=]*')
for n = 1, #all, 2 do
  if all[n]:find('^{shut}') then
    local said = tonumber(all[n + 1]) or 0
    if all[n] == field then till = math.max(till, said) end
    if all[n] == field or all[n] == of_name then shut = math.max(shut, said) end
    if said <= now then redis.call('HDEL', KEYS[1], all[n]) end
  end
end
if till > now then redis.call('HSET', KEYS[1], field, string.format('%.0f', till)) end
return string.format('%.0f', shut)
