-- Shared by other scripts (`-- include record_step`): writes a step of a tracked task, from one state to the
-- next. As one command, because most of a run's cost is the number of arguments.
--
-- KEYS     none
-- ARGV     "STEP", the record, id, channel, what is published (empty: nothing),
--          number of sorted sets; for each: its key, the score (empty: it leaves that set)
--          number of changed fields; for each: field, value
--          the fields to delete
-- Returns  (slice) the arguments from one position to another; (step) nothing; (step_obstacle) why it can't be done, checked before, or nothing
local function slice(words, first, last)
  if last - first < 1000 then return { unpack(words, first, last) } end
  local part = {} -- unpack has a limit
  for w = first, last do part[#part + 1] = words[w] end
  return part
end

local LEAVES = ''
local seen = {} -- types of the sets: while the script runs, a missing one can only become a zset

local function kind_of(key)
  local kind = seen[key]
  if not kind then
    kind = redis.pcall('TYPE', key).ok or 'none' -- an older users.acl forbids TYPE
    seen[key] = kind
  end
  return kind
end

local function step_obstacle(command)
  local kind = redis.pcall('TYPE', command[2]).ok or 'none'
  if kind ~= 'hash' and kind ~= 'none' then return command[2], kind, 'hash' end
  for s = 7, 5 + 2 * tonumber(command[6]), 2 do
    kind = kind_of(command[s])
    if kind ~= 'zset' and kind ~= 'none' then return command[s], kind, 'zset' end
  end
end

local function step(command)
  local record, id = command[2], command[3]
  local last = 6 + 2 * tonumber(command[6])
  for s = 7, last, 2 do
    if command[s + 1] == LEAVES then
      redis.call('ZREM', command[s], id)
    else
      redis.call('ZADD', command[s], command[s + 1], id)
    end
  end
  local first = last + 2
  last = last + 1 + 2 * tonumber(command[last + 1])
  if last >= first then redis.call('HSET', record, unpack(command, first, last)) end
  if #command > last then redis.call('HDEL', record, unpack(command, last + 1)) end
  if command[5] ~= '' then redis.call('PUBLISH', command[4], command[5]) end
end
