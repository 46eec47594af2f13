-- Mark a run, before it starts, as one that must never be repeated.
--
-- KEYS 1   worker:<id>   2  resqpy's at_most_once
-- ARGV 1   the beginning of the worker's record, which names the run   2  worker id
-- Returns  1; 0 if the record has changed (then the run must not start); 2 if the mark was
--          already there, so the run may have started
if redis.call('GETRANGE', KEYS[1], 0, #ARGV[1] - 1) ~= ARGV[1] then return 0 end
if redis.call('HGET', KEYS[2], ARGV[2]) == ARGV[1] then return 2 end
-- include spare_memory
redis.call('HSET', KEYS[2], ARGV[2], ARGV[1])
return 1
