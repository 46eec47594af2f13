-- Shared by exchange.lua (`-- include exchange_find`): the slots; one presumed free that has a record gets
-- its job back.
--
-- KEYS     those of exchange.lua: 4, 5 and 8
-- ARGV     2 there; from `word()`: the groups of slots, as the header there says
-- Returns  words: of the slots, by index; begun: the beginning of the record, for slots with a successful run
--          whose end is not written; succeeded: whether there were any; void_slots, found: as there;
--          last_slot: the last that may get a job; busy: slots that get none; (id_of) a worker id; (rescued)
--          how often a job was put back; (succeed) counts the end of a successful run; (find) whether a slot has a job, which it gets, then; (end_rest)
--          writes the ends of the slots in `begun`, or of those whose beginning a function chooses
local words, begun, succeeded, last_slot, void_slots = {}, {}, false, 0, {}
for _ = 1, tonumber(word()) do
  local beginning, size = word(), tonumber(word())
  succeeded = succeeded or beginning ~= ''
  for index = last_slot + 1, last_slot + size do
    words[index] = word()
    begun[index] = beginning ~= '' and beginning
  end
  last_slot = last_slot + size
end

local function id_of(index)
  return id_before .. words[index] .. id_after
end

local drops = {} -- keys that the end of a successful run deletes, by index
for _ = 1, tonumber(word()) do
  local index, size = tonumber(word()), tonumber(word())
  if size > 0 then
    drops[index], at = slice(ARGV, at, at + size - 1), at + size
  else
    unlock(id_of(index), begun[index])
  end
end

-- Count the end of a successful run, given the first bytes of its record; returns false if it can't be written.
local function succeed(index, id, record)
  local keys = drops[index]
  local reply = keys and redis.pcall('DEL', unpack(keys))
  if type(reply) == 'table' then
    unwritten[#unwritten + 1], unwritten[#unwritten + 2], stuck[id] = reported + index, reply.err, true
    return false
  end
  count(id, 'p', record)
  return true
end

local function end_rest(which)
  for index = 1, #words do
    local was = begun[index]
    if was and (not which or which(was)) then
      local id = id_of(index)
      begun[index] = false
      local there = record_at(record_of .. id, was)
      if begins(there, was) then
        if succeed(index, id, there) then
          redis.call('DEL', record_of .. id)
          vacate(id, was)
        end
      else
        void_slots[#void_slots + 1] = index
      end
    end
  end
end

local found = {}
local rescues = last_slot > 0 and redis.call('TYPE', KEYS[8]).ok == 'hash'

-- How often the job of a dead worker was put back before; '' if never.
local function rescued(payload)
  return rescues and redis.call('HGET', KEYS[8], redis.sha1hex(payload)) or ''
end

-- Whether a slot already has a job; if so, it gets that, or nothing if its end could not be written.
local function find(index)
  local id = id_of(index)
  if stuck[id] then return true end
  local record = redis.pcall('GET', record_of .. id)
  if not record then
    unlock(id) -- of a job that nobody has heard of, and whose record somebody has deleted
    return false
  end
  if type(record) ~= 'string' then record = '' end -- a key of another type: nothing can be claimed there
  local bytes, sha1 = get(held_of .. id), ''
  local size = bytes and #bytes or -1
  if size > most then bytes, sha1 = false, redis.sha1hex(bytes) end
  local n = #found
  found[n + 1], found[n + 2], found[n + 3] = index, record, bytes
  found[n + 4], found[n + 5] = size, sha1
  found[n + 6], found[n + 7], found[n + 8] = '', false, 0
  -- a quotation mark in a queue's name is escaped, so neither mark can be part of one
  local _, first = record:find(',"run_at":"', 1, true)
  local last, start = record:find('","payload":', first, true)
  local ending = #end_before + #words[index] + #end_after
  local payload = bytes or (first and last and size < 0 and record:sub(start + 1, -ending - 1))
  if payload then
    found[n + 6] = rescued(payload)
    found[n + 7] = found[n + 6] == '' and first and last
      and take_along(payload, id, record:sub(first + 1, last - 1))
    if first and last then -- what is kept apart was not looked at when it was taken
      local _, queue = decode('[' .. (record:match('^{"queue":(".-"),"run_at":"') or '""') .. ']')
      found[n + 8] = find_locks(bytes and '' or payload, id, queue[1] or '', record:sub(first + 1, last - 1))
    end
  end
  return true
end

local busy = {} -- slots that get no job, by index
if fenced > 0 or ARGV[2] == '1' then end_rest() end
if fenced > 0 then
  last_slot = 0
elseif ARGV[2] == '1' then
  for index = 1, last_slot do busy[index] = find(index) end
end
