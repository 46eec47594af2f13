-- Remove all items that are due at one second.
--
-- KEYS 1   delayed_queue_schedule   2  delayed:<second>   3  prefix of the timestamps: sets
-- ARGV 1   second                   2  the member that the sets have for it
-- Returns  how many items there were
-- Read by  Ruby and Node: all three
local items = redis.call('LRANGE', KEYS[2], 0, -1)
for _, item in ipairs(items) do redis.call('SREM', KEYS[3] .. item, ARGV[2]) end
redis.call('DEL', KEYS[2])
redis.call('ZREM', KEYS[1], ARGV[1])
return #items
