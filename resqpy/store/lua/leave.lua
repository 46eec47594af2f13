-- Remove closed slots, or their whole process, from all keys that name them. A slot with a record stays, and
-- the process with it, so that the rescue finds its job.
--
-- KEYS 1   workers   2  workers:heartbeat   3  resqpy's processes   4  resqpy's gates
--      5   resqpy's lives            6  the process' state      7  resqpy's at_most_once
--      8   prefix of what is noted of limits
-- ARGV 1   incarnation of the process
--      2   "1": the process leaves and takes no more jobs
--      3   number of workers; for each: id, and the keys of its record, its held bytes, its JobLocks, its
--          start, its two counters
-- Returns  the positions of those that stay, from 1
-- Read by  Ruby: all but resqpy's own; Node: workers
-- include limit_free
-- include free_locks
if ARGV[2] == '1' then
  redis.pcall('HDEL', KEYS[4], ARGV[1])
  redis.call('DEL', KEYS[6])
end
local stay = {}
for w = 1, tonumber(ARGV[3]) do
  local id, record, held, locks, start, processed, failed = unpack(ARGV, 7 * w - 3, 7 * w + 3)
  if redis.call('EXISTS', record) == 1 then
    stay[#stay + 1] = w
  else
    redis.call('SREM', KEYS[1], id)
    redis.call('HDEL', KEYS[2], id)
    redis.pcall('HDEL', KEYS[7], id)
    free_places(KEYS[8], id, '0') -- of a run whose record somebody else deleted, as are its locks
    free_locks(locks)
    redis.call('DEL', held, start, processed, failed)
  end
end
if ARGV[2] == '1' and #stay == 0 then
  redis.pcall('HDEL', KEYS[5], ARGV[1])
  redis.call('ZREM', KEYS[3], ARGV[1])
end
return stay
