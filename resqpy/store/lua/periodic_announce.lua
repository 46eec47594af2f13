-- A process announces its periodic tasks; chains of those with a frequency start unless they are running
-- somewhere, and the clock of those with a cron starts.
--
-- KEYS 1   resqpy's periodic:tasks    2  periodic:seen     3  periodic:due
--      4   periodic:out               5  periodic:stopped  6  resqpy's cron
-- ARGV 1   "boot": replace the announcement of a task, and start a chain that a failure ended;
--          "renew": only add missing announcements; "start": start a chain whatever ended it
--      2   now in ms since the epoch, or empty: Redis' clock
--      3…  for each task: name, its announcement, its cron schedule as a text (empty: a frequency)
-- Returns  the names of the chains that start, and of the stopped cron tasks that resume
-- Read by  only resqpy
local tasks, seen, due, out, stopped, cron = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local how, now = ARGV[1], ARGV[2]
if now == '' then
  local time = redis.call('TIME')
  now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
end

-- Whether nothing stops a task from running, and whether something did until now.
local function may_go_on(name)
  local why = redis.call('HGET', stopped, name)
  if not why then return true, false end
  if how == 'start' or (how == 'boot' and why == 'failed') then
    redis.call('HDEL', stopped, name)
    return true, true
  end
  return false, false
end

local begun = {}
for a = 3, #ARGV, 3 do
  local name, told, schedule = ARGV[a], ARGV[a + 1], ARGV[a + 2]
  local known = redis.call('HGET', tasks, name)
  if not known or (how ~= 'renew' and known ~= told) then
    redis.call('HSET', tasks, name, told)
    known = told
  end
  redis.call('ZADD', seen, now, name)
  if known == told then -- if another version of the task was announced later, that one wins
    local may, begins = may_go_on(name)
    if schedule ~= '' then
      redis.call('HSETNX', cron, name, now .. ' ' .. schedule)
    elseif may then
      begins = redis.call('HEXISTS', out, name) == 0 and redis.call('ZADD', due, 'NX', now, name) == 1
    end
    if begins then begun[#begun + 1] = name end
  end
end
return begun
