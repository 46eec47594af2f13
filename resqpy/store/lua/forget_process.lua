-- Forget a dead process after all its workers were rescued.
--
-- KEYS 1   the lease (the fence)   2  resqpy's processes   3  resqpy's gates   4  resqpy's lives
--      5   resqpy's known tasks      6  the process' state
-- ARGV 1   the token   2  incarnation   3  dead if its last heartbeat is before this
-- Returns  1 forgotten, 0 it is alive
local fence = 1
-- include fence
local seen = redis.call('ZSCORE', KEYS[2], ARGV[2])
if seen and tonumber(seen) >= tonumber(ARGV[3]) then return 0 end
redis.pcall('HDEL', KEYS[3], ARGV[2])
redis.pcall('HDEL', KEYS[4], ARGV[2])
redis.pcall('HDEL', KEYS[5], ARGV[2])
redis.call('DEL', KEYS[6])
return redis.call('ZREM', KEYS[2], ARGV[2])
