-- Shared by exchange.lua (`-- include exchange_keys`): limits of tasks, shared ones, and those of each value of an
-- input. Such a limit is counted under a key: its name, or name=value.
--
-- KEYS     those of exchange.lua: 4, 11, 12 and 13
-- ARGV     1 and 14 there
-- Returns  keyed: whether any task has a limit; (refuses) which key lets a job not run now, and all its keys;
--          (hold_keys) a worker has got the job; (free) a run has ended; (park) a job waits for a key; (parked_for) the
--          keys of a queue whose parked jobs may run, in the order in which they became so; (unpark) the next of
--          them; (forget_parked) there are none left; (tell_keys) others look for what this process can't take
--
-- A job over a limit is moved once, to the list of its key and queue, and from there to a record, each in this
-- script; the end of a run tells which lists have a turn. Who holds a place is a worker id with the run_at of its
-- record: at the limit whoever has no such record is dropped.
--
-- The fields of KEYS[11] that are no queues: `{task}CLASS`: lines of `name path`, what the code says; `{also}CLASS`:
-- the same, by hand; `{limit}NAME`: how many; `{set}NAME` and `{set}NAME=VALUE`: how many, by hand. What an
-- older version doesn't know it does not obey.
local rules = { task = {}, also = {}, limit = {}, set = {} }
local keyed, parked_jobs = false, 0
local refuses, hold_keys, free, park, parked_for, unpark, put_back, forget_parked, tell_keys
do
  local prefix, index, MOST = KEYS[12], KEYS[13], 1000
  local by_class, left, waits, freed, any, now, again = {}, {}, {}, {}, nil, nil, false

  local function list_of(key, queue)
    return prefix .. 'jobs:' .. #key .. ':' .. key .. ':' .. queue
  end

  local function is_any()
    if any == nil then any = redis.call('EXISTS', index) == 1 end
    return any
  end

  local function time()
    now = now or now_ms()
    return string.format('%.0f', now)
  end

  -- Texts and numbers that are the same to a reader are one key; so are all that Lua can't tell apart, or that
  -- are no value.
  local function text_of(value)
    if type(value) == 'number' then
      if not (math.abs(value) < 9007199254740992) then return '?' end
      return string.format('%.17g', value)
    elseif type(value) == 'string' then
      if #value > 128 or value:find('%c') then return '#' .. redis.sha1hex(value) end
      return value
    elseif type(value) == 'boolean' then
      return tostring(value)
    end
    return value == nil and '' or value == cjson.null and '' or '?'
  end

  local function value_of(job, path)
    local args = type(job) == 'table' and job.args
    local place = path:match('^#(%d+)$')
    if type(args) ~= 'table' then return '' end
    if place then return text_of(args[tonumber(place)]) end
    return type(args[1]) == 'table' and text_of(args[1][path]) or ''
  end

  local function lines_of(class)
    local known = by_class[class]
    if known == nil then
      local text = (rules.task[class] or '') .. '\n' .. (rules.also[class] or '')
      known = {}
      for name, path in text:gmatch('([^\n\t]+)\t([^\n]*)') do known[#known + 1] = { name, path } end
      if #known == 0 then known = false end
      by_class[class] = known
    end
    return known
  end

  -- What a job is counted under; nothing: no limit concerns it.
  local function keys_of(payload)
    local class, job = payload:match('^{"class":"([^"\\]*)"'), nil
    if not class then
      local fine, read = decode(payload)
      job = fine and type(read) == 'table' and read
      class = job and job.class
      if type(class) ~= 'string' then return nil end
    end
    if class == 'ActiveJob::QueueAdapters::ResqueAdapter::JobWrapper' then
      local fine, read = decode(payload)
      local wrapper = fine and type(read.args) == 'table' and read.args[1]
      if type(wrapper) ~= 'table' or type(wrapper.job_class) ~= 'string' then return nil end
      class, job = wrapper.job_class, { args = wrapper.arguments }
    end
    local lines = lines_of(class)
    if not lines then return nil end
    local keys = {}
    for n, line in ipairs(lines) do
      local name, path = line[1], line[2]
      if path ~= '' and job == nil then
        local fine, read = decode(payload)
        job = fine and read or false
      end
      keys[n] = path == '' and name or name .. '=' .. value_of(job, path)
    end
    return keys
  end

  local function most_of(key)
    local name = key:match('^[^=]*')
    return tonumber(rules.set[key] or rules.set[name] or rules.limit[name])
  end

  -- How many hold a place, without those that run no job of it.
  local function checked_key(key)
    local slots, count = prefix .. 'slots:' .. key, 0
    for _, id in ipairs(redis.call('SMEMBERS', slots)) do
      local note = redis.pcall('HGET', prefix .. 'holds', id)
      local since = type(note) == 'string' and note:match('^[^\n]+')
      local record = since and redis.pcall('GETRANGE', KEYS[4] .. id, 0, 4095)
      if type(record) == 'string' and record:find('"run_at":"' .. since .. '"', 1, true) then
        count = count + 1
      else
        redis.call('SREM', slots, id)
        redis.pcall('HDEL', prefix .. 'holds', id)
      end
    end
    return count
  end

  local function room_for(key)
    if left[key] then return left[key] end
    local most = most_of(key)
    if not most then return math.huge end
    local count = redis.pcall('SCARD', prefix .. 'slots:' .. key)
    if type(count) == 'table' then count = math.huge end -- somebody put something else there
    if count >= most and most > 0 and redis.pcall('SET', prefix .. 'looked:' .. key, '', 'PX', 250, 'NX') then
      count = checked_key(key)
    end
    left[key] = most - count
    return left[key]
  end

  local function has_parked(key, queue)
    if not is_any() then return false end
    local list = list_of(key, queue)
    if waits[list] == nil then waits[list] = redis.call('EXISTS', list) == 1 end
    return waits[list]
  end

  local function have_turn(key, queue)
    redis.pcall('ZADD', prefix .. 'ready:' .. queue, 'NX', time(), key)
  end

  function refuses(payload, queue, from)
    local keys = keys_of(payload)
    if not keys then return nil, nil end
    for _, key in ipairs(keys) do
      if room_for(key) <= 0 then return key, keys end
      if not from and has_parked(key, queue) then -- nobody overtakes those
        have_turn(key, queue)
        again = true
        return key, keys
      end
    end
    return nil, keys
  end

  function hold_keys(id, keys)
    for _, key in ipairs(keys) do
      if left[key] then left[key] = left[key] - 1 end
      redis.pcall('SADD', prefix .. 'slots:' .. key, id)
    end
    redis.pcall('HSET', prefix .. 'holds', id, run_at .. '\n' .. table.concat(keys, '\n') .. '\n')
  end

  function free(id)
    local note = keyed and redis.pcall('HGET', prefix .. 'holds', id)
    if type(note) ~= 'string' then return end
    redis.call('HDEL', prefix .. 'holds', id)
    for key in note:gmatch('\n([^\n]+)') do
      redis.pcall('SREM', prefix .. 'slots:' .. key, id)
      freed[key] = true
      if is_any() then
        for _, queue in ipairs(redis.call('SMEMBERS', prefix .. 'queues:' .. key)) do have_turn(key, queue) end
      end
    end
  end

  -- Returns whether it waits there now, and an error.
  function park(key, queue, payload)
    local list = list_of(key, queue)
    for _, command in ipairs({ { 'ZADD', index, 'NX', time(), key .. '\n' .. queue },
      { 'SADD', prefix .. 'queues:' .. key, queue }, { 'RPUSH', list, payload } }) do
      local reply = redis.pcall(unpack(command))
      if type(reply) == 'table' and reply.err then return false, reply.err end
    end
    any, waits[list], parked_jobs = true, true, parked_jobs + 1
    return true
  end

  function parked_for(queue)
    if not (keyed and is_any()) then return {} end
    local ready = redis.pcall('ZRANGE', prefix .. 'ready:' .. queue, 0, MOST - 1)
    return ready.err and {} or ready
  end

  function unpark(key, queue)
    if parked_jobs >= MOST or room_for(key) <= 0 then return nil end
    local payload = redis.pcall('LPOP', list_of(key, queue))
    return type(payload) == 'string' and payload or nil
  end

  function put_back(key, queue, payload)
    redis.call('LPUSH', list_of(key, queue), payload)
  end

  -- The key has no turn any more: no job is parked there, or there is no room.
  function forget_parked(key, queue)
    local list = list_of(key, queue)
    waits[list] = redis.call('EXISTS', list) == 1
    if not waits[list] then
      redis.call('ZREM', index, key .. '\n' .. queue)
      redis.call('SREM', prefix .. 'queues:' .. key, queue)
    end
    if not waits[list] or room_for(key) <= 0 then
      redis.call('ZREM', prefix .. 'ready:' .. queue, key)
    end
  end

  -- Returns whether this process itself looks again: what was parked had an older one before it.
  function tell_keys()
    for key in pairs(freed) do
      if is_any() and room_for(key) > 0 and redis.call('EXISTS', prefix .. 'queues:' .. key) == 1 then
        redis.pcall('PUBLISH', ARGV[14], '{"look":true}')
        return again
      end
    end
    return again
  end
end
