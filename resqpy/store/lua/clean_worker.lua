-- Take a worker out of everything that names it, and its job to the failed list, in one step.
--
-- KEYS 1   worker:<id>                2  workers               3  workers:heartbeat
--      4   failed                     5  stat:failed           6  resqpy's at_most_once
--      7   resqpy's held bytes        8  key for those bytes beside the failed entry, or as 7
--      9   resqpy's hash of the JobLocks that its job holds
--      10… further keys of the worker, which are deleted (started, statistics, ping)
-- ARGV 1   worker id                  2  its record as it was read; empty: it had none
--      3   the failed entry; empty: none
-- Returns  1 done, 0 the record is another one by now: look again
-- Read by  Ruby and Node: all but 6 to 9
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[2] then return 0 end
if ARGV[3] ~= '' then
  redis.call('RPUSH', KEYS[4], ARGV[3])
  redis.call('INCR', KEYS[5])
  if KEYS[8] ~= KEYS[7] and redis.call('EXISTS', KEYS[7]) == 1 then
    redis.call('RENAME', KEYS[7], KEYS[8])
  end
end
local locks = redis.call('HGETALL', KEYS[9])
for l = 1, #locks, 2 do
  if redis.call('GET', locks[l]) == locks[l + 1] then redis.call('DEL', locks[l]) end
end
redis.call('SREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('HDEL', KEYS[6], ARGV[1])
redis.call('DEL', KEYS[1], KEYS[7], KEYS[9])
for k = 10, #KEYS do redis.call('DEL', KEYS[k]) end
return 1
