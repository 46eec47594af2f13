-- Shared by exchange.lua (`-- include exchange_take`): a job for each free slot, in the queues' order.
--
-- KEYS     those of exchange.lua: 4, 5 and the queues
-- ARGV     1, 3 and 4 there
-- Returns  paused, jobs, rows, special, broken, more, looked: as there
local paused = is_paused(0) and 1 or 0

local jobs, rows, special, broken, next_slot, claimed = {}, {}, {}, {}, 1, 0
local beginnings = {} -- of records, by queue

-- Write the record of a slot that has none, or replace that of its successful run, whose end counts then.
-- Returns whether it was written, and an error. The old record is compared only after it was replaced, which
-- saves a command for each job: one that is not that run's is restored at once.
local function put(index, id, record)
  local key, was = record_of .. id, begun[index]
  local old = was and redis.pcall('SET', key, record, 'GET') or redis.pcall('SET', key, record, 'NX')
  local problem = type(old) == 'table' and old.err
  if problem and not problem:find('WRONGTYPE', 1, true) then return false, problem end
  if not was then return old and not problem end
  begun[index] = false
  if begins(old, was) then
    local fine = succeed(index, id, old)
    if not fine then redis.call('SET', key, old) end
    return fine
  end
  void_slots[#void_slots + 1] = index
  if type(old) == 'string' then redis.call('SET', key, old) end
  return not old
end

-- Add a job to the reply.
local function tell(index, q, payload, fit, id)
  local large, again = #payload > most, rescued(payload)
  local along = again == '' and take_along(payload, id, run_at)
  if along then claimed = claimed + 1 end
  local looks = fit and not along and RULES ~= ''
  local locks = looks and take_locks(fit.class, name_of(q), payload, id, again == '') or 0
  if fit and again == '' and not along then
    local n = #rows
    if rows[n - 2] ~= q or rows[n] ~= locks or rows[n - 3] + rows[n - 1] ~= index then
      n = n + 4
      rows[n - 3], rows[n - 2], rows[n - 1], rows[n] = index, q, 0, locks
    end
    jobs[#jobs + 1] = payload
    rows[n - 1] = rows[n - 1] + 1
    return
  end
  local n = #special
  special[n + 1], special[n + 2], special[n + 3] = index, q, (not large) and payload or false
  special[n + 4], special[n + 5] = fit and -1 or #payload, large and redis.sha1hex(payload) or ''
  special[n + 6], special[n + 7], special[n + 8] = again, along, locks
end

-- Put a job into the record of the next free slot; returns its worker id; false if there is none, or with an
-- error.
local function place(q, payload)
  local fit = #payload <= most and presentable(payload) -- what is not sent is kept apart
  while next_slot <= last_slot do
    local index = next_slot
    next_slot = index + 1
    local id = id_of(index)
    local there, problem = false, nil
    if not busy[index] then
      there, problem = put(index, id, beginnings[q] .. (fit and payload or stand_in) .. end_before
        .. words[index] .. end_after)
    end
    if problem then return false, problem end
    if there then
      local held = fit or redis.pcall('SET', held_of .. id, payload)
      if type(held) == 'table' and held.err then
        redis.call('DEL', record_of .. id)
        return false, held.err
      end
      tell(index, q, payload, fit, id)
      return id
    end
    if not busy[index] then find(index) end
  end
  return false
end

-- Limits of an exchange, in bytes examined and moved, and in records claimed along (60 µs each), because Redis is
-- blocked meanwhile. The first job of an exchange is claimed whatever its size. A large one is not examined.
local LOOK, MOVE, CLAIM = 65536, 1048576, 25
-- How many are popped at once, and the size from which they are popped one by one: what exceeds the limits is
-- pushed back.
local AT_ONCE, RATHER_LARGE, PARK = 16, 4096, 1000
local looked, moved, over, overdue = 0, 0, false, false -- overdue: further keys have a turn

local function is_too_much(payload)
  local size = #payload
  local look = size <= LOOKED_AT and size or 0
  over = parked_jobs >= PARK or claimed >= CLAIM
    or (moved > 0 and (moved + size > MOVE or looked + look > LOOK))
  if not over then looked, moved = looked + look, moved + size end
  return over
end

-- Returns the worker id that has got a job, true if it is parked or sent to another language, false otherwise; and an
-- error. It raises none: the job was popped, and is put back.
local function place_or_park(q, payload, from)
  local fine, rule, theirs = true, nil, false
  if moving then fine, rule, theirs = pcall(side_of, payload, name_of(q)) end
  if not fine then return false, words_of(rule) end
  if theirs then return send_away(rule, payload) end
  local key, keys = nil, nil
  if keyed then fine, key, keys = pcall(refuses, payload, name_of(q), from) end
  if not fine then return false, words_of(key) end
  if key then return park(key, name_of(q), payload) end
  local id, problem = place(q, payload)
  if id and keys then hold_keys(id, keys) end
  if id and rule then tally(rule, 'ours', 1) end
  return id, problem
end

local function may_take(room, holders)
  return next_slot <= last_slot and not over and not (room and #holders >= room)
end

-- Jobs that were parked and may run now: they have waited longer than those in the queue.
local function take_parked(q, room, holders)
  local queue = name_of(q)
  local keys, others = parked_for(queue)
  for _, key in ipairs(keys) do
    local payload, problem
    while may_take(room, holders) do
      payload = unpark(key, queue)
      if not payload then break end
      local placed = false
      if not is_too_much(payload) then placed, problem = place_or_park(q, payload, key) end
      if not placed then put_back(key, queue, payload) end
      if room and placed and placed ~= true then holders[#holders + 1] = placed end
      if not placed then break end
    end
    end_turn(key, queue)
    if problem or not may_take(room, holders) then return problem end
  end
  overdue = overdue or others
end

local function take_some(q, room, holders)
  local key, wanted = KEYS[FIXED + q], 1
  while may_take(room, holders) do
    local payloads = redis.pcall('LPOP', key, wanted)
    if not payloads then return end
    if payloads.err then return payloads.err end
    local largest = 0
    for p = 1, #payloads do
      local placed, problem = false, nil
      if not is_too_much(payloads[p]) then placed, problem = place_or_park(q, payloads[p]) end
      if not placed then
        for back = #payloads, p, -1 do redis.call('LPUSH', key, payloads[back]) end
        return problem
      end
      if room and placed ~= true then holders[#holders + 1] = placed end
      largest = math.max(largest, #payloads[p])
    end
    if #payloads < wanted then return end
    wanted = largest > RATHER_LARGE and 1 or math.min(AT_ONCE, last_slot - next_slot + 1)
    if room then wanted = math.min(wanted, room - #holders) end
  end
end

local function take_from(q)
  local room, limit = room_of(q)
  local holders = {}
  beginnings[q] = '{"queue":' .. queue_json[q] .. ',"run_at":"' .. run_at .. '","payload":'
  local problem = take_parked(q, room, holders) or take_some(q, room, holders)
  if next_slot <= last_slot then note_wake(name_of(q)) end
  if limit then occupy(limit, holders) end
  return problem
end

local more, looked = 0, 0
if keyed then -- the places of those that have ended are free
  local ids, ended = {}, {}
  for index = 1, #words do
    if begun[index] then ids[#ids + 1], ended[#ended + 1] = id_of(index), begun[index] end
  end
  free_all(ids, ended)
end
if ruled then end_rest(limit_in) end
if paused == 0 and last_slot > 0 then
  for q = 1, #KEYS - FIXED do
    local rests, problem = is_paused(q)
    if not rests and not problem then problem = take_from(q) end
    problem, misplaced = problem or misplaced, false
    if problem then
      -- no error replaces a reply that says what was done
      local done = #jobs > 0 or #special > 0 or written > 0 or succeeded or parked_jobs > 0
      if not done and not problem:find('WRONGTYPE', 1, true) then return redis.error_reply(problem) end
      broken[#broken + 1] = q
      broken[#broken + 1] = problem
    end
    if next_slot > last_slot or over then
      more = (#jobs > 0 or #special > 0 or parked_jobs > 0) and 1 or 0
      break
    end
    looked = q
  end
end
end_rest()
count_all()
tell_moves()
tell_room()
if tell_keys() or overdue then more = 1 end
