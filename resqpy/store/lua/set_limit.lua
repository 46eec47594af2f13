-- Set by hand how many jobs run at once under the name of a limit, or one of its keys, or end that.
--
-- KEYS 1   resqpy's limits   2  where jobs are parked   3  prefix of what is noted of limits
-- ARGV 1   name, or name=value   2  how many; empty: what the code says
--      3   a task that has this limit from now on though its code says none; empty: none
--      4   the channel on which workers are told to look for work
-- Returns  how many it was, as a text; false: there was none of that name
-- include limits_changed
local name = ARGV[1]:match('^[^=]*')
local before = redis.call('HGET', KEYS[1], '{set}' .. ARGV[1])
  or redis.call('HGET', KEYS[1], '{set}' .. name) or redis.call('HGET', KEYS[1], '{limit}' .. name)
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], '{set}' .. ARGV[1])
  if ARGV[3] ~= '' then redis.call('HDEL', KEYS[1], '{also}' .. ARGV[3]) end
else
  redis.call('HSET', KEYS[1], '{set}' .. ARGV[1], ARGV[2])
  if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], '{also}' .. ARGV[3], name .. '\t') end
end
tell_parked({ [name] = true }, ARGV[4])
return before
