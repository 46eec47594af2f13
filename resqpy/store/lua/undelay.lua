-- Remove an item, in all its spellings, from every second at which it is due.
--
-- KEYS 1   prefix of the delayed lists   2  delayed_queue_schedule
-- ARGV     for each spelling: its text, its timestamps: key
-- Returns  for each member (`delayed:<second>`) from which something was removed: it, items left there
-- Read by  Ruby and Node: all of them
local found = {}
for a = 1, #ARGV, 2 do
  for _, member in ipairs(redis.call('SMEMBERS', ARGV[a + 1])) do
    local second = member:sub(#'delayed:' + 1)
    local list = KEYS[1] .. second
    local removed = redis.pcall('LREM', list, 0, ARGV[a])
    if type(removed) == 'number' and removed > 0 then
      found[#found + 1] = member
      found[#found + 1] = redis.call('LLEN', list)
      if found[#found] == 0 then redis.pcall('ZREM', KEYS[2], second) end
    end
    redis.call('SREM', ARGV[a + 1], member)
  end
end
return found
