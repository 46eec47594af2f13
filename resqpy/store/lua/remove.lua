-- Remove items of a list that equal one of several texts: the spellings of one job.
--
-- KEYS 1    a list
-- ARGV 1    maximum number; 0: all; negative: from the tail
--      2…   texts
-- Returns   how many were removed
-- Read by   Ruby and Node: queue:<name>, delayed:<second>, failed
local wanted, removed = tonumber(ARGV[1]), 0
for t = 2, #ARGV do
  local left = wanted
  if wanted > 0 then left = wanted - removed elseif wanted < 0 then left = wanted + removed end
  if wanted ~= 0 and left == 0 then break end
  removed = removed + redis.call('LREM', KEYS[1], left, ARGV[t])
end
return removed
