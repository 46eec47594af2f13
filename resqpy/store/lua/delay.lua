-- Store a delayed item, unless it is there already at that second or a second beside it.
--
-- KEYS 1   delayed_queue_schedule      2  delayed:<second>      3  timestamps:<item>
-- ARGV 1   second                      2  item
--      3-5 the members that `timestamps:` sets have for the second, the one before, the one after
--      6…  the timestamps: keys of all spellings of the item
-- Returns  1 stored, 0 it was there
-- Read by  Ruby and Node: all three
for k = 6, #ARGV do
  for near = 3, 5 do
    if redis.call('SISMEMBER', ARGV[k], ARGV[near]) == 1 then return 0 end
  end
end
redis.call('RPUSH', KEYS[2], ARGV[2])
redis.call('SADD', KEYS[3], ARGV[3])
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[1])
return 1
