-- Correct when a chain is due, begin it or forget it, if it is still due when it was read to be.
--
-- KEYS 1   the leader's lease (the fence)
--      2   resqpy's periodic:due    3  periodic:out    4  periodic:stopped
-- ARGV 1   the leader's token       2  task name
--      3   the time (ms) at which it is due, as it was read; empty: it is neither due nor out
--          nor stopped
--      4   the new time; empty: forget the chain
-- Returns  1 done, 0 it is another time by now
-- Read by  only resqpy
local fence = 1
-- include fence
local score = redis.call('ZSCORE', KEYS[2], ARGV[2])
if ARGV[3] == '' then
  if score or redis.call('HEXISTS', KEYS[3], ARGV[2]) == 1
    or redis.call('HEXISTS', KEYS[4], ARGV[2]) == 1 then
    return 0
  end
elseif not score or tonumber(score) ~= tonumber(ARGV[3]) then
  return 0
end
if ARGV[4] == '' then
  redis.call('ZREM', KEYS[2], ARGV[2])
  redis.call('HDEL', KEYS[3], ARGV[2])
else
  redis.call('ZADD', KEYS[2], ARGV[4], ARGV[2])
end
return 1
