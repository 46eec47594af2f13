-- Give an order to processes, and tell them: the order is a line of the text that waits for each.
--
-- KEYS     the orders of each process
-- ARGV 1   the order, without a line break   2  how long it waits (ms)   3  channel   4  message
-- Returns  1
for _, key in ipairs(KEYS) do
  local waiting = redis.pcall('GET', key)
  local text = type(waiting) == 'string' and #waiting < 65536 and waiting .. '\n' .. ARGV[1] or ARGV[1]
  redis.call('SET', key, text, 'PX', ARGV[2])
end
redis.call('PUBLISH', ARGV[3], ARGV[4])
return 1
