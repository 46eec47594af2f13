-- Note that a run must never be repeated, before it starts.
--
-- KEYS 1   worker:<id>   2  resqpy's at_most_once
-- ARGV 1   the beginning of the worker's record, which names the run   2  worker id
-- Returns  1; 0 where the record is another one by now (then the run must not start); 2 where that was
--          noted before, so that the run may have started already
if redis.call('GETRANGE', KEYS[1], 0, #ARGV[1] - 1) ~= ARGV[1] then return 0 end
if redis.call('HGET', KEYS[2], ARGV[2]) == ARGV[1] then return 2 end
-- include spare_memory
redis.call('HSET', KEYS[2], ARGV[2], ARGV[1])
return 1
