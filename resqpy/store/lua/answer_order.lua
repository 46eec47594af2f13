-- Answer an order to a process, and take it from those that wait for the process. Answers expire in the step
-- that writes them: who gave the order may be gone.
--
-- KEYS 1   the orders of the process   2  the answers
-- ARGV 1   the order, as it is there   2  the answer ('': none)   3  how long answers are kept (ms)
-- Returns  1 answered, 0 the order was no longer there
local waiting, left, found = redis.pcall('GET', KEYS[1]), {}, false
for line in (type(waiting) == 'string' and waiting or ''):gmatch('[^\n]+') do
  if line == ARGV[1] and not found then
    found = true
  else
    left[#left + 1] = line
  end
end
if not found then return 0 end
if #left > 0 then
  redis.call('SET', KEYS[1], table.concat(left, '\n'), 'KEEPTTL')
else
  redis.call('DEL', KEYS[1])
end
if ARGV[2] ~= '' then
  redis.call('RPUSH', KEYS[2], ARGV[2])
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
return 1
