-- Note how a shadow run has ended, unless the rule of its class has changed meanwhile.
--
-- KEYS 1   what was counted of the class   2  the list of such ends
-- ARGV 1   `since` of the rule   2  what it counts as, a field of KEYS[1]   3  milliseconds
--      4   the outcome as JSON; empty: none is kept   5  how many are kept   6  so many other copies were not run
-- Returns  1: it is noted; 0: it is not
if redis.call('HGET', KEYS[1], 'since') ~= ARGV[1] then return 0 end
redis.call('HINCRBY', KEYS[1], ARGV[2], 1)
redis.call('HINCRBY', KEYS[1], 'shadow_ms', ARGV[3])
if ARGV[6] ~= '0' then
  redis.call('HINCRBY', KEYS[1], 'passed', ARGV[6])
  redis.call('HINCRBY', KEYS[1], 'copied', -ARGV[6])
end
if ARGV[4] ~= '' then
  if redis.call('RPUSH', KEYS[2], ARGV[4]) > tonumber(ARGV[5]) then redis.call('LPOP', KEYS[2]) end
end
return 1
