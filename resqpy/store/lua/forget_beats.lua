-- Forget heartbeats of workers that are not registered, if they have not changed since they were read.
--
-- KEYS 1   workers   2  workers:heartbeat
-- ARGV     for each: worker id, its heartbeat
-- Returns  how many were forgotten
-- Read by  Ruby: both
local gone = 0
for a = 1, #ARGV, 2 do
  if redis.call('SISMEMBER', KEYS[1], ARGV[a]) == 0 and redis.call('HGET', KEYS[2], ARGV[a]) == ARGV[a + 1] then
    gone = gone + redis.call('HDEL', KEYS[2], ARGV[a])
  end
end
return gone
