-- Shared by other scripts (`-- include guards`): the locks that are checked in the step that pushes a job, as
-- in enqueue.lua. Reads its arguments from `word()`, which the including script defines.
--
-- KEYS     none
-- ARGV     number of guards; for each: "lock", "absent", "delayed", "once", "room" or "stamp", key, seconds (of
--          "once": milliseconds; of "room": how many are too many; of "stamp": see enqueue.lua)
-- Returns  (read_guards) the guards; (pass) the locks taken, or nil and the number of the guard that forbids
--          the push; it raises an error, and has taken none, where a lock's key is of another kind;
--          (free) nothing

-- include delayed_item

local NONE = {} -- most jobs have none: no table, no TIME

local function read_guards()
  local count = tonumber(word())
  if count == 0 then return NONE end
  local guards = {}
  for g = 1, count do guards[g] = { word(), word(), tonumber(word()) } end
  return guards
end

local function free(locks)
  for _, lock in ipairs(locks) do redis.call('DEL', lock) end
end

local function pass(guards)
  if guards == NONE then return NONE end
  local now, taken = tonumber(redis.call('TIME')[1]), {}
  for g, guard in ipairs(guards) do
    local fine
    if guard[1] == 'lock' then
      -- a value that is not a number, or a time that is over, is replaced, as node-resque does
      local held = redis.pcall('GET', guard[2])
      if type(held) == 'table' then -- a key of another type can't be a lock
        free(taken)
        redis.call('GET', guard[2])
      end
      fine = not (held and (tonumber(held:match('^%s*%d+')) or 0) >= now)
      if fine then
        redis.call('SET', guard[2], string.format('%.0f', now + guard[3] + 1), 'EX', guard[3])
        taken[#taken + 1] = guard[2]
      end
    elseif guard[1] == 'delayed' then
      fine = not waits(guard[2])
    elseif guard[1] == 'stamp' then
      fine = true
    elseif guard[1] == 'once' then
      fine = redis.call('SET', guard[2], '1', 'PX', guard[3], 'NX')
      if fine then taken[#taken + 1] = guard[2] end
    elseif guard[1] == 'room' then
      local length = redis.pcall('LLEN', guard[2])
      fine = type(length) == 'table' or length < guard[3] -- what is no list, the push refuses
    else
      fine = redis.call('EXISTS', guard[2]) == 0
    end
    if not fine then
      free(taken)
      return nil, g
    end
  end
  return taken
end
