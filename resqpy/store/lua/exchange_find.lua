-- Shared by exchange.lua (`-- include exchange_find`): the free slots; one presumed free that has a record
-- gets its job back.
--
-- KEYS     those of exchange.lua: 4, 5 and 8
-- ARGV     2 there; from `word()`: number of free slots, and for each what the header there says
-- Returns  free: of { index, worker id, the end of its record }; found: as there; (rescued) how often a
--          job was put back; (find) whether a slot has a job, which it gets, then
local free = {} -- of { index, worker id, the end of its record }
for index = 1, tonumber(word()) do
  local id, ending = word(), word()
  if not stuck[id] then free[#free + 1] = { index, id, ending } end
end

local found = {}
local rescues = #free > 0 and redis.call('TYPE', KEYS[8]).ok == 'hash'

-- How often the job of a dead worker was put back before; '' if never.
local function rescued(payload)
  return rescues and redis.call('HGET', KEYS[8], redis.sha1hex(payload)) or ''
end

-- Whether a slot already has a job; if so, it gets that.
local function find(slot)
  local record = redis.pcall('GET', record_of .. slot[2])
  if not record then return false end
  if type(record) ~= 'string' then record = '' end -- a key of another type: nothing can be claimed there
  local bytes, sha1 = get(held_of .. slot[2]), ''
  local size = bytes and #bytes or -1
  if size > most then bytes, sha1 = false, redis.sha1hex(bytes) end
  local n = #found
  found[n + 1], found[n + 2], found[n + 3] = slot[1], record, bytes
  found[n + 4], found[n + 5] = size, sha1
  found[n + 6], found[n + 7] = '', false
  -- a quotation mark in a queue's name is escaped, so neither mark can be part of one
  local _, first = record:find(',"run_at":"', 1, true)
  local last, start = record:find('","payload":', first, true)
  local payload = bytes or (first and last and size < 0 and record:sub(start + 1, -#slot[3] - 1))
  if payload then
    found[n + 6] = rescued(payload)
    found[n + 7] = found[n + 6] == '' and first and last
      and take_along(payload, slot[2], record:sub(first + 1, last - 1))
  end
  return true
end

if fenced > 0 then
  free = {}
elseif ARGV[2] == '1' then
  local really = {}
  for _, slot in ipairs(free) do
    if not find(slot) then really[#really + 1] = slot end
  end
  free = really
end
