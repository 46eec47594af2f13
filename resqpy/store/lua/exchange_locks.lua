-- Shared by exchange.lua (`-- include exchange_locks`): what QueueLock and JobLock do when a job is taken, in the same
-- step. Only for jobs whose arguments stand there as JavaScript spells them, so that the name of the lock needs no
-- other spelling: without escapes, blanks, fractions, large numbers, and names that it would sort. For all others
-- the plugins do it, and where a lock is not to be had.
--
-- KEYS     none of exchange.lua
-- ARGV     1 and 15 to 17 there
-- Returns  (take_locks) given the class, queue and text of a job, its worker, and whether it begins at once: 1 if its QueueLock was
--          freed, and 2 if its JobLock is held; (find_locks) the same of a job that was taken before, whatever begins it; (unlock) frees
--          the JobLocks of the run that a worker's record begins so; without that, of any, since it runs nothing
local RULES, lock_prefix, holder_prefix = ARGV[15], ARGV[16], ARGV[17]
local rule_by_class, values = {}, {}

local function lock_rule(class)
  local rule = rule_by_class[class]
  if rule == nil then
    local _, last = RULES:find('\n' .. class .. '\t', 1, true)
    local queue, seconds = RULES:match('^(q?)(%d*)', (last or #RULES) + 1)
    rule = last and { queue = queue == 'q', seconds = tonumber(seconds) }
    rule_by_class[class] = rule or false
  end
  return rule
end

local SIXTEEN = ('%d'):rep(16) -- digits: perhaps beyond 2^53

local function plain_args(payload)
  local text = payload:match('^{"class":"[^"\\]*","queue":"[^"\\]*","args":(%b[])}$')
  if not text or text:find('[\\%c]') then return nil end
  local bones = text:gsub('"[^"]*"', '"')
  if bones:find('[ .E]') or bones:find('%de') or bones:find('-0', 1, true) or bones:find(SIXTEEN) then return nil end
  if not bones:find('^%b[]$') then return nil end
  if bones:find('":', 1, true) then
    local seen = {}
    for name in text:gmatch('"([^"]*)":') do
      if seen[name] or name == '_task_id' or not name:find('^[%a_][%w_]*$') then return nil end
      seen[name] = true
    end
  end
  return text
end

local function rule_for(class, queue, payload)
  local rule = RULES ~= '' and lock_rule(class)
  local args = rule and queue:find('%w') and plain_args(payload)
  return args and rule, args and class .. ':' .. queue .. ':' .. args
end

local function take_locks(class, queue, payload, id, at_once)
  local rule, name = rule_for(class, queue, payload)
  if not rule then return 0 end
  local freed = rule.queue and type(redis.pcall('DEL', lock_prefix .. 'lock:' .. name)) == 'number' and 1 or 0
  if not (at_once and rule.seconds) then return freed end
  local lock, holder, seconds = lock_prefix .. 'workerslock:' .. name, holder_prefix .. id, rule.seconds
  local value = values[seconds] or lock_value(seconds)
  values[seconds] = value
  local free = redis.pcall('SET', lock, value, 'EX', seconds, 'NX')
  if not free or free.err then return freed end
  if type(redis.pcall('HSET', holder, lock, value, '', run_at)) == 'table' then
    redis.call('DEL', lock) -- nobody would free it
    return freed
  end
  redis.call('EXPIRE', holder, seconds + 60) -- what a killed worker leaves expires by itself
  return freed + 2
end

-- The JobLocks that are noted of a worker, and the run_at of the run that has taken them.
local function locks_of(id)
  local noted, all = {}, redis.pcall('HGETALL', holder_prefix .. id)
  for n = 1, #all, 2 do noted[all[n]] = all[n + 1] end
  local run = noted['']
  noted[''] = nil
  return noted, run
end

local function find_locks(payload, id, queue, started)
  if RULES == '' then return 0 end
  local noted, run = locks_of(id)
  local held = run == started and next(noted)
  for lock, value in pairs(noted) do held = held and get(lock) == value end
  local rule = rule_for(payload:match('^{"class":"([^"\\]*)"') or '', queue, payload)
  return (rule and rule.queue and 1 or 0) + (held and 2 or 0)
end

local function unlock(id, beginning)
  local noted, run = locks_of(id)
  if not run or beginning and not beginning:find(',"run_at":"' .. run .. '"', 1, true) then return end
  local gone = { holder_prefix .. id }
  for lock, value in pairs(noted) do
    if get(lock) == value then gone[#gone + 1] = lock end
    if #gone > 1000 then -- a run has one or two, but who knows what stands there
      redis.call('DEL', unpack(gone))
      gone = { gone[1] }
    end
  end
  redis.call('DEL', unpack(gone))
end
