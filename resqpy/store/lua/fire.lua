-- Enqueues the jobs of a schedule and updates the notes of what has been handled, atomically, so that each
-- time fires once even if a process dies.
--
-- KEYS 1…  the fence (as many keys as ARGV 2 says); then
--      +1  set of queue names      +2  queue:<name>
--      +3… the keys of the notes; a position below counts from here, beginning with 1
-- ARGV 1   the leader's token      2  number of fence keys
--      3   queue name              4  number of jobs
--      5…  each job with its guards (guards.lua); then
--          the number of expectations; for each: HGET or ZSCORE, position of the key, field, the value as
--          it was read (empty: none); then how many rows the history keeps (0: there is none), and if so
--          position of its key, the time of the fire (ms), how long it is kept (ms), for each job the time that
--          was planned, the number of times whose job a hook forbids, these times; then, to the end, the writes, for each: "always", "pushed"
--          (a job was enqueued) or "refused" (none was), number of its arguments after the key, command,
--          position of the key, those arguments
-- Returns  how many jobs were enqueued, -1: an expectation fails, nothing was done
-- Read by  Ruby and Node: queues, queue:<name>; Ruby: delayed:last_enqueued_at
local fence = tonumber(ARGV[2])
-- include fence
local queues, queue, queue_name, count = KEYS[fence + 1], KEYS[fence + 2], ARGV[3], tonumber(ARGV[4])
local position = 5
local function word()
  position = position + 1
  return ARGV[position - 1]
end

-- include guards

local jobs, guards = {}, {}
for j = 1, count do jobs[j], guards[j] = word(), read_guards() end
for _ = 1, tonumber(word()) do
  local command, key, field, expected = word(), KEYS[fence + 2 + word()], word(), word()
  local found = redis.call(command, key, field) or ''
  if command == 'ZSCORE' then found, expected = tonumber(found), tonumber(expected) end
  if found ~= expected then return -1 end
end

local history = { keeps = tonumber(word()), planned = {}, forbidden = {} }
if history.keeps > 0 then
  history.key, history.at, history.kept_ms = KEYS[fence + 2 + word()], word(), word()
  for j = 1, count do history.planned[j] = word() end
  for n = 1, tonumber(word()) do history.forbidden[n] = word() end
end

-- One row for each fire, in the step of the fire. A history that can't be written stops no fire.
local function record(locks)
  local rows = {}
  for j = 1, count do
    rows[j] = history.planned[j] .. ' ' .. history.at .. (locks[j] and ' enqueued' or ' refused')
  end
  for _, at in ipairs(history.forbidden) do rows[#rows + 1] = at .. ' ' .. history.at .. ' forbidden' end
  if #rows == 0 then return end
  local length = redis.call('RPUSH', history.key, unpack(rows))
  for _ = history.keeps + 1, length do redis.call('LPOP', history.key) end
  redis.call('PEXPIRE', history.key, history.kept_ms)
end

-- A chain that is neither due nor noted as enqueued would end. So the keys written with a push must have these
-- types, checked first.
local KINDS = { HSET = 'hash', HDEL = 'hash', ZADD = 'zset', ZREM = 'zset' }
local pushed, locks, notes = 0, {}, {}

while position <= #ARGV do
  local when, others = word(), tonumber(word())
  local command = { word(), KEYS[fence + 2 + word()] }
  for w = 1, others do command[2 + w] = word() end
  local wanted, kind = when == 'pushed' and KINDS[command[1]], redis.call('TYPE', command[2]).ok
  if wanted and kind ~= wanted and kind ~= 'none' then
    return redis.error_reply('WRONGTYPE ' .. command[2] .. ' is a ' .. kind .. ', not a ' .. wanted)
  end
  notes[#notes + 1] = { when, command }
end

local fine, problem = pcall(function()
  for j = 1, count do
    locks[j] = pass(guards[j]) or false
    if locks[j] then
      if pushed == 0 then redis.call('SADD', queues, queue_name) end
      pushed = pushed + 1
    end
  end
  for j = 1, count do
    if locks[j] then redis.call('RPUSH', queue, jobs[j]) end
  end
end)
if not fine then -- if the first can't be pushed, none can: nothing is handled
  for _, taken in ipairs(locks) do free(taken or NONE) end
  return redis.error_reply(type(problem) == 'table' and problem.err or tostring(problem))
end

for _, note in ipairs(notes) do
  local when, command = note[1], note[2]
  if when == 'always' or (when == 'pushed') == (pushed > 0) then redis.call(unpack(command)) end
end
if history.keeps > 0 then pcall(record, locks) end
return pushed
