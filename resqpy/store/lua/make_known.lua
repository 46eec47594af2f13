-- Register a worker that has a record but is listed nowhere, and its process: from now on it needs a
-- heartbeat, or the rescue takes its job back.
--
-- KEYS 1   workers   2  workers:heartbeat   3  resqpy's processes   4  the record
-- ARGV 1   worker id   2  incarnation   3  now, as Ruby writes a heartbeat
-- Returns  1 if it was unknown
if redis.call('TYPE', KEYS[4]).ok ~= 'string' then return 0 end
redis.call('ZADD', KEYS[3], 'NX', redis.call('TIME')[1], ARGV[2])
redis.call('HSETNX', KEYS[2], ARGV[1], ARGV[3])
return redis.call('SADD', KEYS[1], ARGV[1])
