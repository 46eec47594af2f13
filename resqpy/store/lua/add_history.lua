-- Add what has run to the slots of this moment. In each slot so many names have a record; the others share one.
--
-- KEYS 1   prefix of the history's keys
-- ARGV 1   most names of a slot   2  the name of the others   3  number of grains
--      4…  for each grain: its name, seconds of a slot, how long it is kept (s)
--      …   then for each record: of what (`tasks`, `queues`), its name, its numbers (`3,0,1`)
-- Returns  the time (s)
local most, others, grains, at = tonumber(ARGV[1]), ARGV[2], {}, 4
local now = tonumber(redis.call('TIME')[1])
for n = 1, tonumber(ARGV[3]) do
  local step = tonumber(ARGV[at + 1])
  grains[n] = { slot = ARGV[at] .. ':' .. string.format('%d', now - now % step), kept = ARGV[at + 2] }
  at = at + 3
end

-- The numbers of a text with commas between; none if somebody else has written this.
local function numbers(text)
  local found, n = {}, 0
  if #text > 500 or not text:match('^[%d,]+$') then return found end
  for each in text:gmatch('%d+') do
    n = n + 1
    found[n] = each -- Lua adds texts of digits as numbers, and writes whole numbers below 10^14 as they are
  end
  return found
end

-- include can_be

for n = at, #ARGV, 3 do -- what is refused is told again: a part of it must not be written
  for _, grain in ipairs(grains) do
    local key = KEYS[1] .. ARGV[n] .. ':' .. grain.slot
    if not grain[key] and not can_be('hash', key) then
      return redis.error_reply('WRONGTYPE ' .. key .. ' is no hash')
    end
    grain[key] = true
  end
end

local written = {}
for n = at, #ARGV, 3 do
  local more = numbers(ARGV[n + 2])
  for _, grain in ipairs(grains) do
    local key, name = KEYS[1] .. ARGV[n] .. ':' .. grain.slot, ARGV[n + 1]
    local known = redis.call('HGET', key, name)
    if not known and redis.call('HLEN', key) >= most then
      name = others
      known = redis.call('HGET', key, name)
    end
    local sum = known and numbers(known) or {}
    for place, number in ipairs(more) do sum[place] = (sum[place] or 0) + number end
    redis.call('HSET', key, name, table.concat(sum, ','))
    written[key] = grain.kept
  end
end
for key, kept in pairs(written) do redis.call('EXPIRE', key, kept) end
return now
