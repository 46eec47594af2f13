-- Shared by exchange.lua (`-- include exchange_take`): a job for each free slot, in the queues' order.
--
-- KEYS     those of exchange.lua: 1, 4, 5 and the queues
-- ARGV     1, 3 and 4 there
-- Returns  paused, taken, broken, more, looked: as there
local paused = get(KEYS[1])
paused = paused and paused:lower():match('^%s*true%s*$') and 1 or 0

local taken, broken, next_free = {}, {}, 1

-- Put a job into the record of the next free slot; false if there is none.
local function place(q, payload)
  local fit = #payload <= most and presentable(payload) -- what is not sent is kept apart
  while next_free <= #free do
    local slot = free[next_free]
    next_free = next_free + 1
    local record = '{"queue":' .. queue_json[q] .. ',"run_at":"' .. run_at .. '","payload":'
      .. (fit and payload or stand_in) .. slot[3]
    if redis.call('SET', record_of .. slot[2], record, 'NX') then
      if not fit then redis.call('SET', held_of .. slot[2], payload) end
      local large = #payload > most
      local n = #taken
      taken[n + 1], taken[n + 2] = slot[1], q
      taken[n + 3] = (not large) and payload or false
      taken[n + 4] = fit and -1 or #payload
      taken[n + 5] = large and redis.sha1hex(payload) or ''
      taken[n + 6] = rescued(payload)
      taken[n + 7] = taken[n + 6] == '' and take_along(payload, slot[2], run_at)
      return true
    end
    find(slot)
  end
  return false
end

-- Limits of an exchange, in bytes examined and moved, because Redis is blocked meanwhile. The first job of an
-- exchange is claimed whatever its size. A large one is not examined.
local LOOK, MOVE = 65536, 1048576
-- How many are popped at once, and the size from which they are popped one by one: what exceeds the limits is
-- pushed back.
local AT_ONCE, RATHER_LARGE = 16, 4096
local looked, moved, over = 0, 0, false

local function is_too_much(payload)
  local size = #payload
  local look = size <= LOOKED_AT and size or 0
  over = moved > 0 and (moved + size > MOVE or looked + look > LOOK)
  if not over then looked, moved = looked + look, moved + size end
  return over
end

local function take_from(q)
  local key, count = KEYS[FIXED + q], 1
  while next_free <= #free and not over do
    local payloads = redis.pcall('LPOP', key, count)
    if not payloads then return end
    if payloads.err then return payloads.err end
    local largest = 0
    for p = 1, #payloads do
      if is_too_much(payloads[p]) or not place(q, payloads[p]) then
        for back = #payloads, p, -1 do redis.call('LPUSH', key, payloads[back]) end
        return
      end
      largest = math.max(largest, #payloads[p])
    end
    if #payloads < count then return end
    count = largest > RATHER_LARGE and 1 or math.min(AT_ONCE, #free - next_free + 1)
  end
end

local more, looked = 0, 0
if paused == 0 and #free > 0 then
  for q = 1, #KEYS - FIXED do
    local problem = take_from(q)
    if problem then
      -- no error replaces a reply that says what was done
      local done = #taken > 0 or written > 0
      if not done and not problem:find('WRONGTYPE', 1, true) then return redis.error_reply(problem) end
      broken[#broken + 1] = q
      broken[#broken + 1] = problem
    end
    if next_free > #free or over then
      more = #taken > 0 and 1 or 0
      break
    end
    looked = q
  end
end
