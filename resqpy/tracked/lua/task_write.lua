-- Execute commands, if the records that they are based on have not changed.
--
-- KEYS 1   the record of a tracked task
-- ARGV 1   number of commands; for each: number of words, words.
--          A command "REQUIRE hash field value" stops if the field has another value; an
--          empty value means that the field must not exist.
--          A command "LEADS key token" stops if the scheduler is no longer the leader.
--          A command "NOW milliseconds tolerance" stops if Redis' time differs.
--          A command "PLACE queue job due prefix" pushes a job before those at the tail of its queue
--          that are tracked tasks due later; `prefix` is that of the records.
--          A command "GUARDS number (kind key seconds)…" takes locks, as in enqueue.lua; they are
--          freed if Redis refuses a later command, and otherwise noted in the record.
--          A command "FREE record" frees what is noted there; see free_guards.lua.
--          A command "STEP …" is that of record_step.lua.
--          A command "HASTEN delayed job timestamps member queues name queue" moves a job from its
--          delayed list to its queue, if it is there, and is not one of very many.
-- Returns  1 done, 0 a condition failed and nothing was done after that, -1 a lock forbade it,
--          2 Redis' time differs
-- Read by  Ruby and Node, where a task's job is placed: queues, queue:*, delayed*, timestamps:*, lock:*
local MOST = 500 -- jobs that are examined to find a position, or one of them

local function later(job, due, prefix)
  local id = job:match('"_task_id":"([^"\\]+)"')
  local other = id and redis.pcall('HGET', prefix .. id, 'next') -- somebody may have changed that record
  return type(other) == 'string' and (tonumber(other) or 0) > due
end

local function place(queue, job, due, prefix)
  local behind = {}
  while #behind < MOST do
    local tail = redis.call('LINDEX', queue, -1)
    if not tail or not later(tail, due, prefix) then break end
    behind[#behind + 1] = redis.call('RPOP', queue)
  end
  redis.call('RPUSH', queue, job)
  for b = #behind, 1, -1 do redis.call('RPUSH', queue, behind[b]) end
end

local function hasten(delayed, job, timestamps, member, queues, name, queue)
  local kind = redis.call('TYPE', queue).ok
  local many = redis.pcall('LLEN', delayed) -- an error if it is not a list
  if type(many) ~= 'number' or many > MOST or (kind ~= 'list' and kind ~= 'none') then return end
  if redis.call('LREM', delayed, 1, job) == 0 then return end
  redis.call('SREM', timestamps, member)
  redis.call('SADD', queues, name)
  redis.call('RPUSH', queue, job)
end

local words_of_guards, word_at
local function word()
  word_at = word_at + 1
  return words_of_guards[word_at]
end

-- include guards

-- include due

-- include free_guards

-- include record_step

local function note(locks)
  local held = ''
  for _, lock in ipairs(locks) do held = held .. #lock .. ':' .. redis.call('GET', lock) .. ':' .. lock end
  if held ~= '' then redis.call('HSET', KEYS[1], 'guards', held) end
end

local function carry_out(command)
  if command[1] == 'PLACE' then
    place(command[2], command[3], tonumber(command[4]), command[5])
  elseif command[1] == 'HASTEN' then
    hasten(unpack(command, 2))
  elseif command[1] == 'FREE' then
    free_guards(command[2])
  elseif command[1] == 'STEP' then
    step(command)
  else
    redis.call(unpack(command))
  end
end

-- What would prevent commands, checked before the first of them.
local function obstacle(commands)
  for _, command in ipairs(commands) do
    local key, kind, wanted
    if command[1] == 'STEP' then
      key, kind, wanted = step_obstacle(command)
    elseif command[1] == 'PLACE' or command[1] == 'RPUSH' then
      kind, wanted = redis.pcall('TYPE', command[2]).ok or 'none', 'list'
      if kind ~= wanted and kind ~= 'none' then key = command[2] end
    end
    if key then return 'WRONGTYPE ' .. key .. ' is a ' .. kind .. ', not a ' .. wanted end
  end
end

local at, locks, commands, asked = 2, NONE, {}, false
for c = 1, tonumber(ARGV[1]) do
  local words = tonumber(ARGV[at])
  commands[c] = slice(ARGV, at + 1, at + words)
  at = at + words + 1
end

local CONDITIONS = { REQUIRE = true, NOW = true, LEADS = true }
for _, command in ipairs(commands) do
  if not asked and not CONDITIONS[command[1]] then
    asked = true
    local problem = obstacle(commands)
    if problem then return redis.error_reply(problem) end
  end
  if command[1] == 'REQUIRE' then
    if (redis.call('HGET', command[2], command[3]) or '') ~= command[4] then return 0 end
  elseif command[1] == 'NOW' then
    if math.abs(now_ms() - tonumber(command[2])) > tonumber(command[3]) then return 2 end
  elseif command[1] == 'LEADS' then
    if redis.call('GET', command[2]) ~= command[3] then
      return redis.error_reply('DEPOSED another scheduler leads')
    end
  elseif command[1] == 'GUARDS' then
    words_of_guards, word_at = command, 1
    locks = pass(read_guards())
    if not locks then return -1 end
  elseif locks == NONE then
    carry_out(command)
  else
    local fine, problem = pcall(carry_out, command)
    if not fine then
      free(locks)
      return redis.error_reply(type(problem) == 'table' and problem.err or problem)
    end
  end
end
note(locks)
return 1
