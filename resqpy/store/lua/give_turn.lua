-- Let workers look at jobs that are parked, if they still are: nobody would remove the turn of what is not.
--
-- KEYS 1   where jobs are parked   2  prefix of what is noted of limits
-- ARGV 1   the channel on which workers are told to look for work
--      …   members of 1
-- Returns  nothing; or the first refusal of a turn, when the others are given
local problem = false
for n = 2, #ARGV do
  local key, queue = ARGV[n]:match('^([^\n]*)\n(.*)$')
  if redis.call('ZSCORE', KEYS[1], ARGV[n]) then
    local given = redis.pcall('ZADD', KEYS[2] .. 'ready:' .. queue, 'NX', 0, key)
    problem = problem or type(given) == 'table' and given
  end
end
redis.call('PUBLISH', ARGV[1], '{"look":true}')
return problem
