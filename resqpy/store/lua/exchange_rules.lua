-- Shared by exchange.lua (`-- include exchange_rules`): whether a queue may give a job now, and how many.
--
-- KEYS     those of exchange.lua: 1, 4, 10 to 12 and the queues
-- ARGV     13 and 14 there
-- Returns  (is_paused) whether a queue is paused, or that of another language (0: whether all workers are paused), and an
--          error; (limit_in) the queue
--          whose limit a run with such a beginning counts for; (vacate) a run that began so has ended; (room_of) how
--          many jobs a queue may give, false: any number, and its limit; (occupy) workers have got jobs of a limit; (tell_room) other processes
--          look for work, if they may take what this one has left
--
-- One command for the pause of all and those of the first hundred queues, and none for the others before
-- their turn; one to see that there are no limits. That is all where there is no rule. Limits are read as pauses are.
local queue_of, pause_of, together = ARGV[13], KEYS[10], 100
local pauses, asked = {}, -1

-- The queue of a sub-queue, `mail` of `mail^5`; false: it is none.
local function base_of(name)
  return name:find('^', 1, true) and name:match('^(.+)%^%-?[1-9]$')
end

local function name_of(q)
  return KEYS[FIXED + q]:sub(#queue_of + 1)
end

local function is_paused(q)
  if q > asked then
    local keys, owners, fields, n = {}, {}, {}, 0
    if q == 0 then keys[1], owners[1], n = KEYS[1], 0, 1 end
    local last = math.min(math.max(asked, 0) + together, #KEYS - FIXED)
    for each = math.max(asked, 0) + 1, last do
      local name = name_of(each)
      n = n + 1
      keys[n], owners[n] = pause_of .. name, each
      local base = base_of(name) -- the pause of a queue is that of its sub-queues, too
      if base then
        n = n + 1
        keys[n], owners[n] = pause_of .. base, each
      end
      if ruled then
        local last_field = #fields
        fields[last_field + 1], fields[last_field + 2] = base or name, '{queue}' .. (base or name)
        fields[last_field + 3] = '{away}' .. name
      end
    end
    load_rules(fields)
    local values = redis.pcall('MGET', unpack(keys)) -- false for a key of another type
    if values.err then return false, values.err end
    asked = last
    for k = 1, n do
      local value = values[k]
      -- `true` pauses all workers, anything a queue: as the programs do that made these keys
      if value and (owners[k] > 0 or value:lower():match('^%s*true%s*$')) then pauses[owners[k]] = true end
    end
  end
  return pauses[q] or (ruled and q > 0 and rules['{away}' .. name_of(q)])
end

-- A limit is that of a queue with its sub-queues. Who holds a place is a worker id, never a number: what frees
-- it twice, or not at all, does no harm. Nobody else needs to free one, a rescue for example: at the limit
-- holders without a record of that queue are dropped.
local released = {}

-- How many jobs of a queue may run at once, and whose limit that is; nothing: any number. By hand wins.
local function limit_of(queue)
  local name = ruled and (base_of(queue) or queue)
  if not name or name:find('^{') then return nil end
  local config = '{queue}' .. name
  load_rules({ name, config })
  local most = tonumber(rules[name] or '') or tonumber(rules[config] or '')
  return most, most and name
end

local function limit_in(beginning)
  local queue = ruled and beginning:match('^{"queue":"([^"\\]*)"')
  local _, name = limit_of(queue or '')
  return name
end

local function vacate(id, beginning)
  free(id)
  local name = limit_in(beginning)
  if name then
    redis.pcall('SREM', KEYS[12] .. 'holders:' .. name, id)
    released[name] = true
  end
end

-- How many hold a place, without those that run no job of the limit.
local function checked(name)
  local holders, count = KEYS[12] .. 'holders:' .. name, 0
  for _, id in ipairs(redis.call('SMEMBERS', holders)) do
    local record = redis.pcall('GETRANGE', KEYS[4] .. id, 0, #name + 20)
    if type(record) == 'string' and limit_in(record) == name then
      count = count + 1
    else
      redis.call('SREM', holders, id)
    end
  end
  return count
end

local function room_of(q)
  local most, name = limit_of(name_of(q))
  if not most then return false end
  local count = ask('SCARD', KEYS[12] .. 'holders:' .. name)
  if not count then return 0, name end
  if count >= most and most > 0 and redis.pcall('SET', KEYS[12] .. 'checked:' .. name, '', 'PX', 250, 'NX') then
    count = checked(name)
  end
  return math.max(most - count, 0), name
end

local function occupy(name, ids)
  if #ids > 0 then redis.pcall('SADD', KEYS[12] .. 'holders:' .. name, unpack(ids)) end
end

local function tell_room()
  for name in pairs(released) do
    local count = redis.pcall('SCARD', KEYS[12] .. 'holders:' .. name)
    if type(count) == 'number' and count < limit_of(name) then
      local family = { queue_of .. name }
      for n = 1, 9 do
        family[2 * n], family[2 * n + 1] = queue_of .. name .. '^' .. n, queue_of .. name .. '^-' .. n
      end
      if redis.call('EXISTS', unpack(family)) > 0 then redis.pcall('PUBLISH', ARGV[14], '{"look":true}') end
    end
  end
end
