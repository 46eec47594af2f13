-- Remove items that are due at one second, from the head.
--
-- KEYS 1   delayed_queue_schedule   2  delayed:<second>   3  prefix of the timestamps: sets
-- ARGV 1   second                   2  the member that the sets have for it
--      3   maximum items            4  maximum bytes
-- Returns  how many were removed, how many are left
-- Read by  Ruby and Node: all three
local removed, bytes = 0, 0
while removed < tonumber(ARGV[3]) and bytes < tonumber(ARGV[4]) do
  local item = redis.call('LPOP', KEYS[2])
  if not item then break end
  redis.pcall('SREM', KEYS[3] .. item, ARGV[2])
  removed, bytes = removed + 1, bytes + #item
end
local left = redis.call('LLEN', KEYS[2])
if left == 0 then redis.call('ZREM', KEYS[1], ARGV[1]) end
return { removed, left }
