-- Shared by exchange.lua (`-- include exchange_ends`): each end whose run is still in its worker's record is
-- written with its commands, and the record is deleted.
--
-- KEYS     those of exchange.lua: 2, 3, 4, 6 and 7; those of `vacate`
-- ARGV     from `word()`: number of ended, and for each what the header of exchange.lua says
-- Returns  void, unwritten: as there; (written) number of the others; stuck: by worker id, whose end is not written;
--          reported: how many there were; (count) counts an end, given the first bytes of its record; (count_all)
--          updates the totals
--
-- The commands of an end: All are executed or none, in order. Besides those of Redis:
--   UNLOCK                     deletes the JobLocks that the run holds, even if the end is void
--   REQUIRE hash field value   skips what follows, up to OTHERWISE, if the field has another value
--   OTHERWISE                  what follows is executed only if what precedes it was skipped; if
--                              that is skipped too, or missing, the end is void, but complete
--   DELAY …                    stores a delayed item (delayed.py)
--   LOCK lock seconds          takes a QueueLock, if nobody has it
--   AGAIN …                    continues a periodic chain, whatever the conditions (periodic_again.lua)
--   HOLD …, STEP …             write the record beside a job (lifecycle.lua)
local void, unwritten, stuck = {}, {}, {}
local processed, failed, written = 0, 0, 0

local function count(id, counts, record)
  if moving then note_end(record, counts) end
  if counts == 'p' then
    processed = processed + 1
    redis.pcall('INCR', KEYS[6] .. id)
  elseif counts == 'f' then
    failed = failed + 1
    redis.pcall('INCR', KEYS[7] .. id)
  end
end

local function count_all()
  if processed > 0 then redis.pcall('INCRBY', KEYS[2], processed) end
  if failed > 0 then redis.pcall('INCRBY', KEYS[3], failed) end
  processed, failed = 0, 0
end

local TYPES = { RPUSH = 'list', LPUSH = 'list', LREM = 'list', SADD = 'set', SREM = 'set',
  ZADD = 'zset', ZREM = 'zset', HSET = 'hash', HDEL = 'hash', HINCRBY = 'hash' }

-- What would prevent the commands, checked before the first of them.
local function obstacle(commands)
  for _, command in ipairs(commands) do
    local key, kind, wanted = nil, nil, TYPES[command[1]]
    if wanted then
      kind = kind_of(command[2])
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
        if not fine then return words_of(problem), false end
      end
    elseif holds and (name ~= 'RENAME' or redis.call('EXISTS', command[2]) == 1) then
      local reply = redis.pcall(unpack(command))
      if type(reply) == 'table' and reply.err then return reply.err, false end
    end
  end
  return nil, holds or done
end

local function carry_out(commands)
  local problem = obstacle(commands)
  if problem then return problem, false end
  return write_all(commands)
end

local function delay(commands, wait_ms, told, item, schedule, lists, set)
  local second, n = due_second(now_ms(told) + wait_ms), #commands
  commands[n + 1] = { 'RPUSH', lists .. second, item }
  commands[n + 2] = { 'SADD', set, 'delayed:' .. second }
  commands[n + 3] = { 'ZADD', schedule, second, second }
end

local function read_commands(id, beginning)
  local commands = {}
  for _ = 1, tonumber(word()) do
    local words = tonumber(word())
    local command = slice(ARGV, at, at + words - 1)
    at = at + words
    if command[1] == 'UNLOCK' then
      unlock(id, beginning)
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

local reported, spared = tonumber(word()), false
for index = 1, reported do
  local id, beginning, counts = word(), word(), word()
  local commands = read_commands(id, beginning)
  local record = record_of .. id
  local there = record_at(record, beginning)
  if not begins(there, beginning) then
    void[#void + 1] = index
  else
    local problem, held = nil, true
    if #commands > 0 then
      -- first a write that needs no memory: after it, Redis refuses no others for lack of it
      if not spared then redis.call('DEL', record .. ':') end
      spared = true
      -- an error (a missing permission, for example) is the problem of this end, not of the others
      local fine, said, holds = pcall(carry_out, commands)
      if fine then
        problem, held = said, holds
      else
        problem = words_of(said)
      end
    end
    if problem then
      unwritten[#unwritten + 1] = index
      unwritten[#unwritten + 1] = problem
      stuck[id] = true
    else
      redis.call('DEL', record)
      vacate(id, beginning)
      written = written + 1
      if held then
        count(id, counts, there)
      else
        void[#void + 1] = index
      end
    end
  end
end
count_all()
