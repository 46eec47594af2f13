-- End a chain until somebody starts it again; its job, if it is under way, does not go on with it.
--
-- KEYS 1   resqpy's periodic:due    2  periodic:out    3  periodic:stopped
-- ARGV 1   task name
-- Returns  1 if it was due at a time, else 0; the time (ms) for which its job was enqueued, or false
-- Read by  only resqpy
redis.call('HSET', KEYS[3], ARGV[1], 'stopped')
local out = redis.call('HGET', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
return { redis.call('ZREM', KEYS[1], ARGV[1]), out }
