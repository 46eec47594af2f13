-- Remove items from one second by their bytes; the index of each is a hint that saves a search.
--
-- KEYS 1   delayed:<second>   2  prefix of the timestamps: sets   3  delayed_queue_schedule
-- ARGV 1   the member that the sets have for the second
--      2…  for each item two words: index, text
-- Returns  for each item 1 removed, 0 it was not there
-- Read by  Ruby and Node: all of them
local GONE = '\0resqpy: gone\0' -- only present inside this script
local done, marked = {}, 0
for a = 2, #ARGV, 2 do
  local place, item = tonumber(ARGV[a]), ARGV[a + 1]
  if redis.call('LINDEX', KEYS[1], place) ~= item then place = redis.call('LPOS', KEYS[1], item) end
  if place then
    redis.call('LSET', KEYS[1], place, GONE)
    redis.pcall('SREM', KEYS[2] .. item, ARGV[1]) -- an error here would leave the markers behind
    marked = marked + 1
  end
  done[#done + 1] = place and 1 or 0
end
if marked > 0 then
  redis.call('LREM', KEYS[1], marked, GONE)
  if redis.call('EXISTS', KEYS[1]) == 0 then
    redis.pcall('ZREM', KEYS[3], (ARGV[1]:gsub('^delayed:', '')))
  end
end
return done
