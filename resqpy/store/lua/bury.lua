-- First step of burying a dead process: close its gate, so that nothing it has sent can take a job. Only then
-- may its records be read.
--
-- KEYS 1   the lease (the fence)   2  resqpy's processes   3  resqpy's gates
-- ARGV 1   the token   2  incarnation   3  dead if its last heartbeat is before this
-- Returns  1 closed, 0 it is alive
local fence = 1
-- include fence
local seen = redis.call('ZSCORE', KEYS[2], ARGV[2])
if seen and tonumber(seen) >= tonumber(ARGV[3]) then return 0 end
redis.pcall('HDEL', KEYS[3], ARGV[2])
return 1
