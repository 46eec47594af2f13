-- Remove items of a list by their bytes; the index of each is a hint that saves a search.
--
-- KEYS 1    a list
-- ARGV      for each item two words: index, bytes
-- Returns   for each item 1 removed, 0 it was not there
-- Read by   Ruby and Node: queue:<name>
local GONE = '\0resqpy: gone\0' -- only present inside this script
local done, marked = {}, 0
for a = 1, #ARGV, 2 do
  local place = tonumber(ARGV[a])
  if redis.call('LINDEX', KEYS[1], place) ~= ARGV[a + 1] then
    place = redis.call('LPOS', KEYS[1], ARGV[a + 1])
  end
  if place then
    redis.call('LSET', KEYS[1], place, GONE)
    marked = marked + 1
  end
  done[#done + 1] = place and 1 or 0
end
if marked > 0 then redis.call('LREM', KEYS[1], marked, GONE) end
return done
