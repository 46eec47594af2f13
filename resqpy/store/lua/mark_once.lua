-- Note that a run must never be repeated, before it starts.
--
-- KEYS 1   worker:<id>   2  resqpy's at_most_once
-- ARGV 1   the beginning of the worker's record   2  worker id   3  run_at
-- Returns  1, or 0 where the record is another one by now (then the run must not start)
if redis.call('GETRANGE', KEYS[1], 0, #ARGV[1] - 1) ~= ARGV[1] then return 0 end
-- include spare_memory
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
return 1
