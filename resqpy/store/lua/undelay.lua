-- Remove an item, in all its spellings, from every second at which it is due.
--
-- KEYS 1   prefix of the delayed lists
-- ARGV     for each spelling: its text, its timestamps: key
-- Returns  for each member (`delayed:<second>`) from which something was removed: it, items left there
-- Read by  Ruby and Node: delayed:<second>, timestamps:<item>
local found = {}
for a = 1, #ARGV, 2 do
  for _, member in ipairs(redis.call('SMEMBERS', ARGV[a + 1])) do
    local list = KEYS[1] .. member:sub(#'delayed:' + 1)
    local removed = redis.pcall('LREM', list, 0, ARGV[a])
    if type(removed) == 'number' and removed > 0 then
      found[#found + 1] = member
      found[#found + 1] = redis.call('LLEN', list)
    end
    redis.call('SREM', ARGV[a + 1], member)
  end
end
return found
