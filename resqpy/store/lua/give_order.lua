-- Give an order to processes, and tell them: the order is a line of the text that waits for each.
--
-- KEYS     the orders of each process
-- ARGV 1   the order, without a line break   2  how long it waits (ms)   3  channel   4  message
-- Returns  1
for _, key in ipairs(KEYS) do
  local waiting = redis.pcall('GET', key)
  local text = type(waiting) == 'string' and #waiting < 65536 and waiting .. '\n' .. ARGV[1] or ARGV[1]
  -- an order that waits for longer is not lost by one that waits for less; each knows when it is too late
  redis.call('SET', key, text, 'PX', math.max(tonumber(ARGV[2]), redis.call('PTTL', key)))
end
redis.call('PUBLISH', ARGV[3], ARGV[4])
return 1
