-- Shared by exchange.lua (`-- include exchange_moves`): classes that move between languages while their jobs run. Of
-- the jobs of such a class in its queue a share is ours; the others go to the queue of the other language, with
-- their bytes, in this script.
--
-- KEYS     those of exchange.lua: 11 and 12
-- ARGV     5, 13 and 14 there
-- Returns  shadows: copies of jobs that went to the other side, for a shadow run here: of each its class, its
--          queue, `since` of its rule, its number among the jobs that were sent, Redis' time (s), its bytes;
--          (side_of) the rule of a job in a queue, if there is one, and whether it is the other side's; (send_away)
--          such a job goes there: whether it did, and an error; (tally) something of a rule is counted; (note_end) a
--          run of ours has ended, given its record and what it counts as; (record_at) what that needs of the record
--          of a run that began so; (tell_moves) writes the counts, and ends the share where ours are worse than may
--          be; (begins) whether a reply is a text that begins so
--
-- The field `{migrate}CLASS` of KEYS[11], or `{migrate}*@QUEUE` for all other classes of a queue: `SHARE OVER ERRORS MS LANGUAGE QUEUE`: how many of 10,000 are ours; over how
-- many ends ours are judged, how many errors of 10,000 they may have, how long (ms) they may run on average, 0:
-- however long. `{away}QUEUE`: none of our processes takes from it. `{shadow}CLASS`: of how many of 10,000 jobs that go to
-- the other side this process gets a copy; only so many at once.
--
-- Which side a job is on depends only on what a retry keeps: its class with its arguments, of Rails' its id. So it
-- stays where it was, and a greater share only takes from the other side.
local shadows, side_of, send_away, tally, note_end, record_at, tell_moves = {}

local function begins(reply, beginning)
  return reply == beginning or type(reply) == 'string' and reply:find(beginning, 1, true) == 1
end

do
  local notes, names, ALL, DAY, LATE = KEYS[12] .. 'migration:', queue_of:gsub('queue:$', 'queues'), 10000, 86400, 3600
  local by_name, met, copied, MOST_COPIES, COPIED = {}, {}, 0, 20, 262144
  local LATELY = { ended = true, failed = true, ms = true }

  local function read_rule(name)
    local known = by_name[name]
    if known == nil then
      known = migration_in(rules['{migrate}' .. name] or '')
      if known then known.name, known.counts, known.shadow = name, {}, tonumber(rules['{shadow}' .. name] or '') or 0 end
      by_name[name] = known
    end
    return known
  end

  -- That of the class, else that of all others in its queue.
  local function rule_of(class, queue)
    local base = base_of(queue) or queue
    load_rules({ '{migrate}' .. class, '{migrate}*@' .. base, '{shadow}' .. class, '{task}' .. class, '{also}' .. class })
    local rule = read_rule(class)
    if rule and rule.queue == base then return rule end
    rule = read_rule('*@' .. base)
    return rule and rule.queue == base and rule
  end

  -- The same for each spelling of a value.
  local function spelled(value)
    if type(value) == 'number' then return string.format('%.17g', value) end
    if type(value) ~= 'table' then return type(value) .. tostring(value) end
    local parts = {}
    for name, each in pairs(value) do parts[#parts + 1] = name .. '\0' .. spelled(each) .. '\0' end
    table.sort(parts)
    return '{' .. table.concat(parts) .. '}'
  end

  local function place_of(class, payload, job)
    job = job or read(payload)
    local text = payload
    if job.large then
      local _, last = payload:find('"args":', 1, true)
      text = payload:sub((last or 0) + 1, (last or 0) + 4096)
    elseif type(job.id) == 'string' then
      text = job.id
    elseif type(job.args) == 'table' then
      text = spelled(job.args)
    end
    return tonumber(redis.sha1hex(class .. '\0' .. text):sub(1, 8), 16) % ALL
  end

  function tally(rule, what, count)
    met[rule.name] = rule
    rule.counts[what] = (rule.counts[what] or 0) + count
  end

  -- A tracked task's job stays ours: only we write its record.
  function side_of(payload, queue)
    local class, job = class_of(payload)
    local rule = class and rule_of(class, queue)
    if not rule or payload:find('"_task_id":"', 1, true) then return nil, false end
    if rule.share == 0 or rule.share >= ALL then return rule, rule.share == 0 end
    return rule, place_of(class, payload, job) >= rule.share
  end

  local function copy(rule, payload)
    if rule.shadow < ALL and place_of(rule.name, payload) >= rule.shadow then return end
    if #payload > most or #shadows >= 6 * MOST_COPIES or copied + #payload > COPIED then return tally(rule, 'passed', 1) end
    if not rule.before then
      rule.before = redis.call('HMGET', notes .. rule.name, 'theirs', 'since')
      rule.now = redis.call('TIME')[1]
    end
    local n = #shadows
    shadows[n + 1], shadows[n + 2], shadows[n + 3] = rule.name, rule.queue, rule.before[2] or ''
    shadows[n + 4], shadows[n + 5] = (tonumber(rule.before[1] or '') or 0) + rule.counts.theirs, rule.now
    shadows[n + 6], copied = payload, copied + #payload
    tally(rule, 'copied', 1)
  end

  function send_away(rule, payload)
    if not rule.named then redis.pcall('SADD', names, rule.target) end
    local reply = redis.pcall('RPUSH', queue_of .. rule.target, payload)
    if type(reply) == 'table' then return false, reply.err end
    rule.named = true
    tally(rule, 'theirs', 1)
    if rule.shadow > 0 then pcall(copy, rule, payload) end
    parked_jobs = parked_jobs + 1 -- as many in one exchange
    return true
  end

  -- How long it ran: since the time of day in its record. A clock may be ahead.
  local function ms_since(record)
    local hours, minutes, seconds = record:match('"run_at":"[^T"]*T(%d+):(%d+):([%d.]+)')
    if not hours then return 0 end
    local time = redis.call('TIME')
    local lasted = (time[1] % DAY + time[2] / 1000000 - hours * 3600 - minutes * 60 - seconds) % DAY
    return lasted > DAY - LATE and 0 or math.floor(lasted * 1000)
  end

  -- All of it where its first bytes don't tell the class.
  function record_at(key, beginning)
    local there = redis.pcall('GETRANGE', key, 0, #beginning + (moving and 511 or -1))
    if not moving or not begins(there, beginning) or early_class(there:sub(#beginning + 1)) then return there end
    return redis.pcall('GETRANGE', key, 0, #beginning + LOOKED_AT + 1023)
  end

  function note_end(record, counts)
    if counts == '-' then return end
    local queue, payload = record:match('^{"queue":"(.-)","run_at":"[^"]*","payload":(.*)$')
    local class = payload and (early_class(payload) or class_of(payload:match('^(.*),"worker":.*}$') or ''))
    local rule = class and rule_of(class, unescaped(queue))
    if not rule then return end
    tally(rule, 'ended', 1)
    tally(rule, 'failed', counts == 'f' and 1 or 0)
    tally(rule, 'ms', ms_since(record))
  end

  -- Returns why ours are worse than may be; false: they are not. Too many errors need not be waited for.
  local function verdict(rule, ended, failed, ms)
    if failed * ALL > rule.errors * math.max(ended, rule.over) then return 'errors' end
    return rule.ms > 0 and ended >= rule.over and ms > rule.ms * ended and 'time'
  end

  local function judge(rule, key)
    local ended, failed, ms = unpack(redis.call('HMGET', key, 'lately_ended', 'lately_failed', 'lately_ms'))
    ended, failed, ms = tonumber(ended) or 0, tonumber(failed) or 0, tonumber(ms) or 0
    local why = rule.share > 0 and verdict(rule, ended, failed, ms)
    if why then
      redis.call('HSET', KEYS[11], '{migrate}' .. rule.name, '0' .. rule.rest)
      redis.call('HSET', key, 'back', why, 'back_share', rule.share, 'back_ended', ended, 'back_failed', failed,
        'back_ms', ms, 'back_at', redis.call('TIME')[1])
      redis.call('PUBLISH', ARGV[14], '{"fell_back":"' .. rule.name:gsub('%c', '?'):gsub('["\\]', '\\%0') .. '","by":"' .. ARGV[5] .. '"}')
    end
    if why or ended >= rule.over then redis.call('HDEL', key, 'lately_ended', 'lately_failed', 'lately_ms') end
  end

  function tell_moves()
    for name, rule in pairs(met) do
      local key = notes .. name
      for what, count in pairs(rule.counts) do
        redis.pcall('HINCRBY', key, what, count)
        if rule.counts.ended and LATELY[what] then
          redis.pcall('HINCRBY', key, 'lately_' .. what, count)
        end
      end
      if rule.counts.ended then pcall(judge, rule, key) end
    end
  end
end
