-- Report the jobs that ended and take jobs for the free slots, in one step:
--
--   Report  each end whose run is still on its worker's record: its commands, then the record goes
--   Fence   an exchange of an epoch that is over, or of a process that was taken for dead, only reports
--   Find    after a lost reply: a slot that was thought free but has a record gets that job back
--   Take    a job for each free slot, in the queues' order: it leaves its queue and is on the record
--
-- Safe to run twice, and late: an end counts only if it removes its own record, nothing is taken for a
-- slot that has one, nor behind the fence. Why that is enough: docs/why/exchange.md.
-- No payload is decoded and encoded again. Nothing that a foreigner may have put in our
-- way (a key of another type, say) stops it half-way.
--
-- KEYS 1   pause-all-workers        2  stat:processed         3  stat:failed
--      4   prefix of worker records 5  prefix of held bytes   6  prefix of stat:processed:<worker>
--      7   prefix of stat:failed:<worker>                     8  resqpy's rescues
--      9   resqpy's gates: the epoch of each process; no field: it takes nothing
--      10… those that lifecycle.lua needs
--      …   the queues, in order of priority
-- ARGV 1   run_at of what is taken (unlike any before, so that it names the run)
--      2   "1": the last reply was lost, look for records in the slots thought free
--      3   the most bytes of a job that are sent to the worker
--      4   payload that stands in a record for bytes that foreign readers could not bear
--      5   incarnation of the process; empty: there is no fence     6  epoch of the exchange
--      7   number of keys that lifecycle.lua needs; 0: nothing is taken along with a job
--      8   what lifecycle.lua needs besides
--      …   the name of each queue as JSON
--      …   number of ended; for each: worker id, the beginning of its record, "p", "f" or "-" (what
--          it counts as), number of commands; for each command: number of words, words
--          (see "The commands of an end", below)
--      …   number of free slots; for each: worker id, the end of its record
-- Returns  paused (0/1), void ends {index…}, unwritten ends {index, error…},
--          taken {slot, queue, payload | false, bytes held or -1, sha1, rescues or '',
--            false | what lifecycle.lua took along…},
--          found {slot, record, held bytes | false, bytes held or -1, sha1, rescues or '',
--            false | as above…},
--          broken queues {queue, error…},
--          more may be waiting (0/1); indices from 1; queue counts from 1,
--          how many of the queues, from the first, have nothing left to be taken,
--          fenced: 0 no, 1 the process has no gate, 2 the gate is ahead, 3 it could not be moved;
--          the epoch of the gate; ARGV 1, so that no answer is taken for that of another exchange
-- Read by  Ruby and Node: worker:<id>, stat:*, failed, delayed:*, queue:*
local at = 9
local function word()
  at = at + 1
  return ARGV[at - 1]
end

local FIXED = 9 + tonumber(ARGV[7])
local run_at, most, stand_in = ARGV[1], tonumber(ARGV[3]), ARGV[4]
local record_of, held_of = KEYS[4], KEYS[5]
local queue_json = {}
for q = 1, #KEYS - FIXED do queue_json[q] = word() end

-- include presentable

-- The commands of an end -----------------------------------------------------------------------
-- All are done or none, in their order. Beside those of Redis:
--   RELEASE lock holder        deletes a lock that still has the value which the hash `holder` has for
--                              it (take_job_lock.lua), even if the end is void
--   REQUIRE hash field value   skips what follows, up to OTHERWISE, where the field has another value
--   OTHERWISE                  what follows is done only if what stands before it was skipped; where
--                              that is skipped too, or is not there, the end is void, but over
--   DELAY …                    stores a delayed item that is due so long from now (delayed.py)
--   LOCK lock seconds          takes a QueueLock, if nobody has it
--   AGAIN …                    lets a periodic chain go on, whatever the conditions (periodic_again.lua)
--   HOLD …, STEP …             write the record beside a job (lifecycle.lua)
local void, unwritten, stuck = {}, {}, {}
local processed, failed = 0, 0

local function get(key)
  local value = redis.pcall('GET', key)
  return type(value) == 'string' and value or false
end

local function release(lock, holder)
  local value = redis.pcall('HGET', holder, lock)
  if type(value) ~= 'string' then return end
  redis.call('HDEL', holder, lock)
  if get(lock) == value then redis.call('DEL', lock) end
end

local TYPES = { RPUSH = 'list', LPUSH = 'list', LREM = 'list', SADD = 'set', SREM = 'set',
  ZADD = 'zset', ZREM = 'zset', HSET = 'hash', HDEL = 'hash', HINCRBY = 'hash' }

-- include lifecycle

-- What would keep the commands from being done, asked before the first of them.
local function obstacle(commands)
  for _, command in ipairs(commands) do
    local key, kind, wanted = nil, nil, TYPES[command[1]]
    if wanted then
      kind = redis.call('TYPE', command[2]).ok
      if kind ~= wanted and kind ~= 'none' then key = command[2] end
    elseif command[1] == 'STEP' then
      key, kind, wanted = step_obstacle(command)
    end
    if key then return 'WRONGTYPE ' .. key .. ' is a ' .. kind .. ', not a ' .. wanted end
  end
end

-- include periodic_again

-- Returns what Redis refused, or whether the conditions among the commands held.
local function write_all(commands)
  local holds, done = true, false
  for _, command in ipairs(commands) do
    local name = command[1]
    if name == 'OTHERWISE' then
      done = done or holds
      holds = not done
    elseif name == 'REQUIRE' then
      local value = redis.pcall('HGET', command[2], command[3])
      holds = holds and (type(value) == 'string' and value or '') == command[4]
    elseif name == 'AGAIN' then
      again(command)
    elseif name == 'HOLD' then
      if holds then holds, done = hold(command) end
    elseif name == 'STEP' then
      if holds then
        local fine, problem = pcall(step, command)
        if not fine then return type(problem) == 'table' and problem.err or problem, false end
      end
    elseif holds and (name ~= 'RENAME' or redis.call('EXISTS', command[2]) == 1) then
      local reply = redis.pcall(unpack(command))
      if type(reply) == 'table' and reply.err then return reply.err, false end
    end
  end
  return nil, holds or done
end

-- include due

local function delay(commands, wait_ms, told, item, schedule, lists, set)
  local second, n = due_second(now_ms(told) + wait_ms), #commands
  commands[n + 1] = { 'RPUSH', lists .. second, item }
  commands[n + 2] = { 'SADD', set, 'delayed:' .. second }
  commands[n + 3] = { 'ZADD', schedule, second, second }
end

local function read_commands()
  local commands = {}
  for _ = 1, tonumber(word()) do
    local words = tonumber(word())
    local command = { unpack(ARGV, at, at + words - 1) }
    at = at + words
    if command[1] == 'RELEASE' then
      release(command[2], command[3])
    elseif command[1] == 'LOCK' then
      commands[#commands + 1] = { 'SET', command[2], lock_value(command[3]), 'EX', command[3], 'NX' }
    elseif command[1] == 'DELAY' then
      delay(commands, unpack(command, 2))
    else
      commands[#commands + 1] = command
    end
  end
  return commands
end

-- Report -----------------------------------------------------------------------------------------
for index = 1, tonumber(word()) do
  local id, beginning, counts = word(), word(), word()
  local commands = read_commands()
  local record = record_of .. id
  if redis.pcall('GETRANGE', record, 0, #beginning - 1) ~= beginning then
    void[#void + 1] = index
  else
    local problem, held = nil, true
    if #commands > 0 then
      -- a write that needs no memory first: after one, Redis refuses no others for want of it
      redis.call('DEL', record .. ':')
      problem = obstacle(commands)
      if not problem then problem, held = write_all(commands) end
    end
    if problem then
      unwritten[#unwritten + 1] = index
      unwritten[#unwritten + 1] = problem
      stuck[id] = true
    else
      redis.call('DEL', record)
      if not held then
        void[#void + 1] = index
      elseif counts == 'p' then
        processed = processed + 1
        redis.pcall('INCR', KEYS[6] .. id)
      elseif counts == 'f' then
        failed = failed + 1
        redis.pcall('INCR', KEYS[7] .. id)
      end
    end
  end
end
if processed > 0 then redis.pcall('INCRBY', KEYS[2], processed) end
if failed > 0 then redis.pcall('INCRBY', KEYS[3], failed) end

-- Fence ------------------------------------------------------------------------------------------
-- A gate only rises, so that what was sent before a lost reply takes nothing after it.
local fenced, gate = 0, 0
if ARGV[5] ~= '' then
  local value = redis.pcall('HGET', KEYS[9], ARGV[5])
  gate = type(value) == 'string' and tonumber(value) or false
  if not gate then
    fenced, gate = 1, 0
  elseif gate > tonumber(ARGV[6]) then
    fenced = 2
  elseif gate < tonumber(ARGV[6]) then
    redis.call('DEL', record_of .. ':') -- so that Redis refuses no write for want of memory
    local reply = redis.pcall('HSET', KEYS[9], ARGV[5], ARGV[6])
    if type(reply) == 'table' and reply.err then fenced = 3 end
  end
end

-- Find -------------------------------------------------------------------------------------------
local free = {} -- of { index, worker id, the end of its record }
for index = 1, tonumber(word()) do
  local id, ending = word(), word()
  if not stuck[id] then free[#free + 1] = { index, id, ending } end
end

local found = {}
local rescues = #free > 0 and redis.call('TYPE', KEYS[8]).ok == 'hash'

-- How often the job of a dead worker was put back before; '' where it never was.
local function rescued(payload)
  return rescues and redis.call('HGET', KEYS[8], redis.sha1hex(payload)) or ''
end

-- Whether a slot has a job already; that is what it gets, then.
local function find(slot)
  local record = redis.pcall('GET', record_of .. slot[2])
  if not record then return false end
  if type(record) ~= 'string' then record = '' end -- a key of another type: nothing can be taken there
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

-- Take -------------------------------------------------------------------------------------------
local paused = get(KEYS[1])
paused = paused and paused:lower():match('^%s*true%s*$') and 1 or 0

local taken, broken, next_free = {}, {}, 1

-- Put a job on the record of the next free slot; false if there is none.
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

-- An exchange is over when it has looked at so many bytes, or moved so many: Redis serves nobody
-- meanwhile. The first job of an exchange is taken whatever its size. A large one is not looked at.
local LOOK, MOVE = 65536, 1048576
-- How many are popped at once, and the size from which they are popped one by one: what is popped and
-- is too much for this exchange is pushed back.
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
      if not problem:find('WRONGTYPE', 1, true) then return redis.error_reply(problem) end
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

return { paused, void, unwritten, taken, found, broken, more, looked, fenced, gate, run_at }
