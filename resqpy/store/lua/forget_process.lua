-- Forget a dead process whose workers are all rescued.
--
-- KEYS 1   the leader's lease (the fence)   2  resqpy's processes
-- ARGV 1   the leader's token   2  incarnation   3  dead if its last sign of life is before this
-- Returns  1 forgotten, 0 it lives
local fence = 1
-- include fence
local seen = redis.call('ZSCORE', KEYS[2], ARGV[2])
if seen and tonumber(seen) >= tonumber(ARGV[3]) then return 0 end
return redis.call('ZREM', KEYS[2], ARGV[2])
