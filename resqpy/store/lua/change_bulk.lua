-- Change a bulk run of the console, if its state allows that and nobody else works on it.
--
-- KEYS 1   hash: the run
-- ARGV 1   the states that allow it, each between commas     2  who asks
--      3   for how many milliseconds they work on it from now; 0: not any more
--      4   "1": whoever works on it
--      5…  fields and their values
-- Returns  1; 0: it is in another state, or somebody else works on it
local state, runner, till = unpack(redis.call('HMGET', KEYS[1], 'state', 'runner', 'until'))
if not state or not ARGV[1]:find(',' .. state .. ',', 1, true) then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[4] ~= '1' and runner ~= ARGV[2] and (tonumber(till) or 0) > now then return 0 end
local lease = tonumber(ARGV[3])
local held = string.format('%.0f', lease > 0 and now + lease or 0)
redis.call('HSET', KEYS[1], 'runner', ARGV[2], 'until', held, unpack(ARGV, 5))
return 1
