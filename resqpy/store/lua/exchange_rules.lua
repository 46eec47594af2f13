-- Shared by exchange.lua (`-- include exchange_rules`): whether a queue may give a job now.
--
-- KEYS     those of exchange.lua: 1, 10 and the queues
-- ARGV     13 there
-- Returns  (is_paused) whether a queue is paused (0: whether all workers are), and an error
--
-- One command for the pause of all and those of the first hundred queues, and none for the others before
-- their turn.
local pause_of, name_at, together = KEYS[10], tonumber(ARGV[13]) + 1, 100
local pauses, asked = {}, -1

local function is_paused(q)
  if q > asked then
    local keys, owners, n = {}, {}, 0
    if q == 0 then keys[1], owners[1], n = KEYS[1], 0, 1 end
    local last = math.min(math.max(asked, 0) + together, #KEYS - FIXED)
    for each = math.max(asked, 0) + 1, last do
      local name = KEYS[FIXED + each]:sub(name_at)
      n = n + 1
      keys[n], owners[n] = pause_of .. name, each
      -- the pause of a queue is that of its sub-queues, too
      local base = name:find('^', 1, true) and name:match('^(.+)%^%-?[1-9]$')
      if base then
        n = n + 1
        keys[n], owners[n] = pause_of .. base, each
      end
    end
    local values = redis.pcall('MGET', unpack(keys)) -- false for a key of another type
    if values.err then return false, values.err end
    asked = last
    for k = 1, n do
      local value = values[k]
      -- `true` pauses all workers, anything a queue: as the programs do that made these keys
      if value and (owners[k] > 0 or value:lower():match('^%s*true%s*$')) then pauses[owners[k]] = true end
    end
  end
  return pauses[q]
end
