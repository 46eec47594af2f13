-- Limit how many jobs of a queue run at once. Those that run now count from the start.
--
-- KEYS 1   resqpy's limits of running jobs   2  the holders of this one   3  workers
--      4   prefix of worker records          5  the mark of its check
-- ARGV 1   the queue    2  the limit; empty: the one by config, or none    3  the channel on which workers look
-- Returns  what it was; false: there was none
-- include limit_seed
local by_hand, by_config = unpack(redis.call('HMGET', KEYS[1], ARGV[1], '{queue}' .. ARGV[1]))
local before = by_hand or by_config
local ids = redis.call('SMEMBERS', KEYS[3]) -- first what can be refused
redis.call('DEL', KEYS[2], KEYS[5])
if ARGV[2] == '' then -- first what was set by hand: then the config holds
  redis.call('HDEL', KEYS[1], by_hand and ARGV[1] or '{queue}' .. ARGV[1])
end
if ARGV[2] ~= '' or by_hand and by_config then
  if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
  seed(ids, KEYS[4], KEYS[2], ARGV[1])
end
redis.pcall('PUBLISH', ARGV[3], '{"look":true}')
return before
