-- Shared by exchange.lua (`-- include exchange_keys`): limits of tasks, shared ones, and those of each value of an
-- input. Such a limit is counted under a key: its name, or name=value.
--
-- KEYS     those of exchange.lua: 4, 11, 12 and 13
-- ARGV     1 and 14 there
-- Returns  ruled: whether there is any rule; keyed: whether any may be the limit of a task; moving: whether any may be
--          of exchange_moves.lua; (class_of) the class of a job, and its content where that was needed; (early_class) the class, if the
--          first bytes of a job tell it; (unescaped) a text of JSON, given what stands between its marks; (read) its
--          content: class, args, and the id of a job of Rails; `large` where it is too large to be read; (load_rules) reads some fields of KEYS[11] into `rules`, each once:
--          false where there is none; (refuses) which key lets a job not run now, and all its keys; (hold_keys) a
--          worker has got the job; (free) a run has ended; (free_all) many have; (park) a job waits for a key;
--          (parked_for) the keys of a queue whose parked jobs may run, in the order in which they became so, and
--          whether there are more; (unpark) the next of them; (put_back) it can't run after all; (end_turn) the key
--          has none any more; (note_wake) when parked jobs of a queue may run, if only time is missing; (tell_keys)
--          others look for what this process can't take; wake: milliseconds until this process looks again, -1: it
--          need not; (ask) the reply to a command on a key of ours; false where that is of another type: then none
--          may run, and `misplaced` is what Redis said
--
-- A job over a limit is moved once, to the list of its key and queue, and from there to a record, each in this
-- script; the end of a run tells which lists have a turn. Who holds a place is a worker id with the run_at of its
-- record: at the limit whoever has no such record is dropped. A rate has no holders but the time (microseconds) at
-- which all that it let run would have been due one by one (GCRA); its jobs have a turn when the next is due, and
-- one process is told to look then.
--
-- The fields of KEYS[11] that are no queues: `{queue}NAME`: the limit of one, by config; `{task}CLASS`: lines of `name path`, what the code says; `{also}CLASS`:
-- the same, by hand; `{limit}NAME`: how many, or COUNT/MS/BURST; `{set}NAME` and `{set}NAME=VALUE`: the same, by
-- hand; `{shut}NAME` and `{shut}NAME=VALUE`: none before this time (ms). What an older version doesn't know it does
-- not obey. Few are read at once; of many only those of the queues, classes and keys that an exchange meets.
local rules, parked_jobs, wake, misplaced = {}, 0, -1, false
local ruled, FEW = redis.pcall('HLEN', KEYS[11]), 40
local few = type(ruled) ~= 'number' or ruled <= FEW
ruled = type(ruled) ~= 'number' or ruled > 0 -- refused: an older set of rights
local keyed, moving = not few, not few
if ruled and few then
  local all = redis.pcall('HGETALL', KEYS[11])
  for n = 1, #all, 2 do
    rules[all[n]] = all[n + 1]
    keyed = keyed or all[n]:find('^{task}') or all[n]:find('^{also}')
    moving = moving or all[n]:find('^{migrate}')
  end
end

local function load_rules(fields)
  if few then return end
  local new = {}
  for _, field in ipairs(fields) do
    if rules[field] == nil then new[#new + 1] = field end
  end
  if #new == 0 then return end
  local values = redis.pcall('HMGET', KEYS[11], unpack(new))
  for n, field in ipairs(new) do rules[field] = values[n] or false end
end

local function ask(command, key, ...)
  local reply = redis.pcall(command, key, ...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  misplaced = reply.err .. ' (' .. key .. ')'
  return false
end

local unescaped, early_class, class_of, read, refuses, hold_keys, free, free_all, park, parked_for, unpark, put_back, end_turn, note_wake, tell_keys
do
  local prefix, index, MOST = KEYS[12], KEYS[13], 1000
  local WRAPPER = 'ActiveJob::QueueAdapters::ResqueAdapter::JobWrapper'
  local by_class, left, waits, freed, any, now_us, again, noted = {}, {}, {}, {}, nil, nil, false, nil
  local ids_by_key, holders, notes, freed_ids = {}, {}, {}, {}
  local rates, due_at = {}, {} -- of a key: its rate, with the time up to which it is used; when it may run again

  local function list_of(key, queue)
    return prefix .. 'jobs:' .. #key .. ':' .. key .. ':' .. queue
  end

  local function is_any()
    if any == nil then any = redis.call('EXISTS', index) == 1 end
    return any
  end

  local function micros()
    if not now_us then
      local time = redis.call('TIME')
      now_us = time[1] * 1000000 + time[2]
    end
    return now_us
  end

  local function time()
    return string.format('%.0f', math.floor(micros() / 1000))
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
    if job.large then return '?' end
    local args = job.args
    local place = path:match('^#(%d+)$')
    if type(args) ~= 'table' then return '' end
    if place then return text_of(args[tonumber(place)]) end
    local named = args[#args] -- inputs by name stand behind those by position
    return type(named) == 'table' and text_of(named[path]) or ''
  end

  local function lines_of(class)
    local known = by_class[class]
    if known == nil then
      local code, hand = '{task}' .. class, '{also}' .. class
      load_rules({ code, hand })
      local text, seen = (rules[code] or '') .. '\n' .. (rules[hand] or ''), {}
      known = { plain = {} }
      for name, path in text:gmatch('([^\n\t]+)\t([^\n]*)') do
        if not seen[name] then -- by hand, and later by the code too
          known[#known + 1], seen[name] = { name, path }, true
          if known.plain and path == '' then known.plain[#known] = name else known.plain = nil end
        end
      end
      if #known == 0 then known = false end
      by_class[class] = known
    end
    return known
  end

  -- A job of Rails has its class and arguments in a wrapper. A large job is not read: Redis is blocked meanwhile.
  function read(payload)
    if #payload > LOOKED_AT then return { large = true } end
    local fine, job = decode(payload)
    if not fine or type(job) ~= 'table' then return {} end
    if job.class ~= WRAPPER then return job end
    local wrapped = type(job.args) == 'table' and type(job.args[1]) == 'table' and job.args[1] or {}
    return { class = wrapped.job_class, args = wrapped.arguments, id = wrapped.job_id }
  end

  -- Nothing where a mark among its escapes ends it too early.
  function unescaped(text)
    if not text or not text:find('\\', 1, true) then return text end
    local fine, list = decode('["' .. text .. '"]')
    return fine and list[1] or nil
  end

  function early_class(payload)
    local class = unescaped(payload:match('^{%s*"class"%s*:%s*"([^"]*)"'))
    if class ~= WRAPPER then return class end
    return unescaped(payload:match('^{"class":"[^"]*","args":%[{"job_class":"([^"]*)"'))
  end

  function class_of(payload)
    local class = early_class(payload)
    if class then return class, nil end
    local job = read(payload)
    return type(job.class) == 'string' and job.class, job
  end

  -- What a job is counted under; nothing: no limit concerns it.
  local function keys_of(payload)
    local class, job = class_of(payload)
    local lines = class and lines_of(class)
    if not lines then return nil end
    if lines.plain then return lines.plain end -- one list for all its jobs
    local keys = {}
    for n, line in ipairs(lines) do
      local name, path = line[1], line[2]
      if path ~= '' then job = job or read(payload) end
      keys[n] = path == '' and name or name .. '=' .. value_of(job, path)
    end
    return keys
  end

  local function rule_of(key)
    local name = key:match('^[^=]*')
    load_rules({ '{set}' .. key, '{set}' .. name, '{limit}' .. name, '{shut}' .. key, '{shut}' .. name })
    return rules['{set}' .. key] or rules['{set}' .. name] or rules['{limit}' .. name]
  end

  -- Until when (ms) it, or its name, lets none begin; what is over is deleted.
  local function shut_until(key)
    local till = 0
    for _, each in ipairs({ key, (key:match('^[^=]*')) }) do
      local field = '{shut}' .. each
      local said = tonumber(rules[field] or '')
      if said and said * 1000 > micros() then
        till = math.max(till, said)
      elseif rules[field] then
        rules[field] = false
        redis.pcall('HDEL', KEYS[11], field)
      end
    end
    return till
  end

  -- How many jobs a rate lets run now; otherwise when the next one may.
  local function room_in(key, count, ms, burst)
    local each = ms * 1000 / count
    local used = tonumber(get(prefix .. 'used:' .. key) or 0) or 0
    used = math.max(used, micros())
    local room = math.floor((micros() + burst * each - used) / each + 1e-6)
    rates[key] = { each = each, used = used, burst = burst }
    return room
  end

  local function room_of_rule(key)
    local rule, shut = rule_of(key), shut_until(key)
    if shut > 0 then
      due_at[key] = shut
      return 0
    end
    if not rule then return math.huge end
    local count, ms, burst = rule:match('^(%d+)/(%d+)/(%d+)$')
    if count and tonumber(count) > 0 and tonumber(ms) > 0 then
      return room_in(key, tonumber(count), tonumber(ms), tonumber(burst))
    end
    local most = tonumber(rule)
    if not most then return count and 0 or math.huge end
    noted = noted or ask('HLEN', prefix .. 'holds')
    local count = noted and ask('SCARD', prefix .. 'slots:' .. key)
    if not count then -- until somebody has removed what is there
      due_at[key] = math.floor(micros() / 1000) + 1000
      return 0
    end
    if count >= most and most > 0 and redis.pcall('SET', prefix .. 'looked:' .. key, '', 'PX', 250, 'NX') then
      count = count_holders(prefix, KEYS[4], key)
    end
    return most - count
  end

  local function room_for(key)
    left[key] = left[key] or room_of_rule(key)
    return left[key]
  end

  -- When a key without room has some, if only time is missing (ms).
  local function when_due(key)
    local rate = rates[key]
    if rate and not due_at[key] then
      return math.ceil((rate.used - (rate.burst - 1) * rate.each) / 1000)
    end
    return due_at[key]
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
    local held = ''
    for n = 1, #keys do
      local key = keys[n]
      local rate = rates[key]
      left[key] = left[key] - 1
      if rate then
        rate.used, rate.taken = rate.used + rate.each, true
      else
        local ids = ids_by_key[key] or {}
        ids_by_key[key], ids[#ids + 1] = ids, id
        held = held .. key .. '\n'
      end
    end
    if held ~= '' then
      holders[#holders + 1] = id
      notes[#notes + 1], notes[#notes + 2] = id, run_at .. '\n' .. held
    end
  end

  -- One command for many: each costs more than what it does.
  local function in_portions(command, key, words)
    for first = 1, #words, 1000 do
      redis.pcall(command, key, unpack(words, first, math.min(first + 999, #words)))
    end
  end

  local function notes_of(ids)
    local found = {}
    for first = 1, #ids, 1000 do
      local some = redis.pcall('HMGET', prefix .. 'holds', unpack(ids, first, math.min(first + 999, #ids)))
      for n = 1, some.err and 0 or #some do found[first + n - 1] = some[n] end
    end
    return found
  end

  local function write_holds()
    if #holders == 0 then return end
    local before = notes_of(holders)
    for n, id in ipairs(holders) do -- of runs whose records somebody else deleted
      if before[n] then free_places(prefix, id, false) end
    end
    for key, ids in pairs(ids_by_key) do in_portions('SADD', prefix .. 'slots:' .. key, ids) end
    in_portions('HSET', prefix .. 'holds', notes)
  end

  function free(id)
    if not keyed or freed_ids[id] then return end
    for _, key in ipairs(free_places(prefix, id, is_any() and time())) do freed[key] = true end
  end

  -- The runs with these beginnings of their records have ended, though their records are still there.
  function free_all(ids, beginnings)
    local same, by_key, gone = {}, {}, {} -- many have one note: the ids of each, by it and by the beginning
    for n, note in pairs(notes_of(ids)) do
      if note then
        local one = same[note .. beginnings[n]] or { note, beginnings[n] }
        same[note .. beginnings[n]], one[#one + 1] = one, ids[n]
      end
    end
    for _, one in pairs(same) do
      local note, beginning = one[1], one[2]
      if beginning:find('"run_at":"' .. (note:match('^[^\n]+') or '') .. '"', 1, true) then
        for key in note:gmatch('\n([^\n]+)') do by_key[key] = by_key[key] or {} end
        for n = 3, #one do
          gone[#gone + 1], freed_ids[one[n]] = one[n], true
        end
        for key in note:gmatch('\n([^\n]+)') do
          local some = by_key[key]
          for n = 3, #one do some[#some + 1] = one[n] end
        end
      end
    end
    for key, some in pairs(by_key) do
      in_portions('SREM', prefix .. 'slots:' .. key, some)
      freed[key] = true
      local queues = is_any() and redis.pcall('SMEMBERS', prefix .. 'queues:' .. key) or {}
      for _, queue in ipairs(queues) do have_turn(key, queue) end
    end
    in_portions('HDEL', prefix .. 'holds', gone)
  end

  -- Returns whether it waits there now, and an error.
  function park(key, queue, payload)
    local list = list_of(key, queue)
    for _, command in ipairs({ { 'ZADD', index, 'NX', time(), key .. '\n' .. queue },
      { 'SADD', prefix .. 'queues:' .. key, queue }, { 'RPUSH', list, payload } }) do
      local reply = redis.pcall(unpack(command))
      if type(reply) == 'table' and reply.err then return false, reply.err end
    end
    local due = room_for(key) <= 0 and when_due(key)
    if due then redis.pcall('ZADD', prefix .. 'ready:' .. queue, string.format('%.0f', due), key) end
    any, waits[list], parked_jobs = true, true, parked_jobs + 1
    return true
  end

  function parked_for(queue)
    if not (keyed and is_any()) then return {} end
    local ready = ask('ZRANGEBYSCORE', prefix .. 'ready:' .. queue, '-inf', time(), 'LIMIT', 0, MOST)
    return ready or {}, ready and #ready == MOST
  end

  function unpark(key, queue)
    if parked_jobs >= MOST or room_for(key) <= 0 then return nil end
    local payload = redis.pcall('LPOP', list_of(key, queue))
    return type(payload) == 'string' and payload or nil
  end

  function put_back(key, queue, payload)
    redis.call('LPUSH', list_of(key, queue), payload)
  end

  -- No job is parked there, or there is no room.
  function end_turn(key, queue)
    local list = list_of(key, queue)
    waits[list] = redis.call('EXISTS', list) == 1
    if not waits[list] then
      redis.pcall('ZREM', index, key .. '\n' .. queue)
      redis.pcall('SREM', prefix .. 'queues:' .. key, queue)
    end
    local due = waits[list] and room_for(key) <= 0 and when_due(key)
    if due then
      redis.pcall('ZADD', prefix .. 'ready:' .. queue, string.format('%.0f', due), key)
    elseif not waits[list] or room_for(key) <= 0 then
      redis.pcall('ZREM', prefix .. 'ready:' .. queue, key)
    end
  end

  -- Of all processes one is told, until the time has come: it is on the mark, with that time.
  function note_wake(queue)
    if not (keyed and is_any()) then return end
    local next_one = redis.pcall('ZRANGEBYSCORE', prefix .. 'ready:' .. queue, '(' .. time(), '+inf', 'WITHSCORES',
      'LIMIT', 0, 1)
    if not next_one[2] then return end
    local at, mark, ms_now = tonumber(next_one[2]), prefix .. 'wakes:' .. queue, math.floor(micros() / 1000)
    local ms = math.max(at - ms_now, 1)
    local told, who = (get(mark) or ''):match('^(%d+) (.*)$')
    if told and tonumber(told) > ms_now and tonumber(told) <= at and who ~= ARGV[5] then return end
    redis.pcall('SET', mark, string.format('%.0f', at) .. ' ' .. ARGV[5], 'PX', math.min(ms, 3600000) + 100)
    wake = wake < 0 and ms or math.min(wake, ms)
  end

  -- Returns whether this process itself looks again: what was parked had an older one before it.
  function tell_keys()
    write_holds()
    for key, rate in pairs(rates) do
      if rate.taken then
        local lasts = math.max(math.ceil((rate.used - micros()) / 1000), 1)
        redis.pcall('SET', prefix .. 'used:' .. key, string.format('%.0f', rate.used), 'PX', lasts)
      end
    end
    for key in pairs(freed) do
      if is_any() and room_for(key) > 0 and redis.call('EXISTS', prefix .. 'queues:' .. key) == 1 then
        redis.pcall('PUBLISH', ARGV[14], '{"look":true}')
        return again
      end
    end
    return again
  end
end
