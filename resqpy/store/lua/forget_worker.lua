-- Shared by other scripts (`-- include forget_worker`): a worker that is gone, or about to be, goes out
-- of every key that names it, and the JobLocks that its job still holds are freed.
-- The including script says in `gone` where these keys begin, and in `worker` the worker's id.
--
-- KEYS gone    workers               +1  workers:heartbeat     +2  resqpy's at_most_once
--      +3      worker:<id>           +4  resqpy's held bytes   +5  resqpy's job_locks of the worker
--      +6…     further keys of the worker (started, statistics, ping); the last of all keys
-- ARGV         none
-- Returns      nothing: the including script goes on
local locks = redis.call('HGETALL', KEYS[gone + 5])
for l = 1, #locks, 2 do
  if redis.call('GET', locks[l]) == locks[l + 1] then redis.call('DEL', locks[l]) end
end
redis.call('SREM', KEYS[gone], worker)
redis.call('HDEL', KEYS[gone + 1], worker)
redis.call('HDEL', KEYS[gone + 2], worker)
redis.call('DEL', unpack(KEYS, gone + 3))
