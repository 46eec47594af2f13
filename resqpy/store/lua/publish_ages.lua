-- Publish what is known of queues' ages; of others it stays.
--
-- KEYS 1   the lease (the fence)   2  the ages   3  the marks
-- ARGV 1   the token   2  how long they are kept (ms)   3…  for each: queue, what is known as JSON ('': forget it)
-- Returns  1
local fence = 1
-- include fence
for n = 3, #ARGV, 2 do
  if ARGV[n + 1] == '' then
    redis.call('HDEL', KEYS[2], ARGV[n])
    redis.call('HDEL', KEYS[3], ARGV[n])
  else
    redis.call('HSET', KEYS[2], ARGV[n], ARGV[n + 1])
  end
end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
