-- Take the job of a dead worker back, and the worker out of everything that names it; one step.
--
-- KEYS 1   the leader's lease (the fence)
--      2   resqpy's processes        3  worker:<id>          4  resqpy's held bytes
--      5   workers                   6  workers:heartbeat    7  resqpy's at_most_once
--      8   resqpy's rescues          9  queues               10 stat:failed
--      11  where the job goes: queue:<name> or failed
--      12  key for held bytes beside a failed entry, or as 4
--      13  resqpy's job_locks of the worker: those it still holds are freed
--      14… further keys of the worker, which are deleted
-- ARGV 1   the leader's token        2  incarnation of the worker's process
--      3   the process is dead if its last sign of life is before this (seconds, Redis' clock)
--      4   worker id                 5  its record as it was read; empty: none
--      6   "LPUSH" (back to its queue), "RPUSH" (to failed) or empty (there is no job)
--      7   what is pushed; empty: the held bytes
--      8   queue name                9  digest of the job    10 its rescues now; empty: forget them
-- Returns  1 done, 0 the process lives or the record is another one by now
-- Read by  Ruby and Node: all but resqpy's own
local fence = 1
-- include fence
local seen = redis.call('ZSCORE', KEYS[2], ARGV[2])
if seen and tonumber(seen) >= tonumber(ARGV[3]) then return 0 end
if (redis.call('GET', KEYS[3]) or '') ~= ARGV[5] then return 0 end
if ARGV[6] ~= '' then
  local job = ARGV[7]
  if job == '' then job = redis.call('GET', KEYS[4]) end
  if not job then return 0 end
  redis.call(ARGV[6], KEYS[11], job)
  if ARGV[6] == 'LPUSH' then
    redis.call('SADD', KEYS[9], ARGV[8])
  else
    redis.call('INCR', KEYS[10])
    if KEYS[12] ~= KEYS[4] and redis.call('EXISTS', KEYS[4]) == 1 then
      redis.call('RENAME', KEYS[4], KEYS[12])
    end
  end
  if ARGV[10] ~= '' then
    redis.call('HSET', KEYS[8], ARGV[9], ARGV[10])
  else
    redis.call('HDEL', KEYS[8], ARGV[9])
  end
end
local locks = redis.call('HGETALL', KEYS[13])
for l = 1, #locks, 2 do
  if redis.call('GET', locks[l]) == locks[l + 1] then redis.call('DEL', locks[l]) end
end
redis.call('SREM', KEYS[5], ARGV[4])
redis.call('HDEL', KEYS[6], ARGV[4])
redis.call('HDEL', KEYS[7], ARGV[4])
redis.call('DEL', KEYS[3], KEYS[4])
for k = 13, #KEYS do redis.call('DEL', KEYS[k]) end
return 1
