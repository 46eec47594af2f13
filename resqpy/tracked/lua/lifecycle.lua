-- Shared by exchange.lua (`-- include lifecycle`): what tracked tasks add to it. Their records are claimed
-- with their jobs, and written by the ends of their runs.
--
-- KEYS 14  prefix of records of tracked tasks    15  tasks:locks    16  tasks:scheduled
--      17  tasks:pending                         18  prefix of tasks:by:
-- ARGV 8   the channel of tracked tasks
--      and as commands of an end:
--      "HOLD", record, id, lock, version, note, tasks:locks: skips what follows where the lock of the record
--          is another; where only its version is, `note` is left in it, for whoever reads it next
--      "STEP", … (record_step.lua)
-- Returns  (hold) whether what follows is done, and else whether its end was noted
--          (take_along) false where nothing was taken; else what task_take.lua returned, with the task's id
--          before it

-- include record_step

local function hold(command)
  local now = redis.pcall('HMGET', command[2], 'lock', 'v')
  if now.err or now[1] ~= command[4] then return false, false end
  if now[2] == command[5] then return true, false end
  redis.call('HSET', command[2], 'ending', command[6], 'locked', '0')
  redis.pcall('HINCRBY', command[2], 'v', 1) -- a counter that somebody broke must not stop us
  redis.pcall('ZADD', command[7], 0, command[3])
  return false, true
end

-- include free_guards

-- include task_take

local LASTS = 30000 -- ms; the lifetime of a lock whose record does not say
local ALONG = tonumber(ARGV[7]) > 0
local task_names = { '', KEYS[15], KEYS[16], KEYS[17], KEYS[18] }
local ID, CLASS = '"_task_id":"', '^{"class":"([^"\\%c]+)",'

-- A tracked task whose job is spelled as we do is claimed in the same step: a look at both ends of the bytes
-- is enough. For other spellings the worker claims after reading the job.
local function take_along(payload, worker, run)
  if not ALONG or payload:sub(-4) ~= '"}]}' then return false end
  local _, last = payload:find(ID, -240, true)
  local kind = last and payload:match(CLASS)
  local id = kind and payload:sub(last + 1, -5)
  if not id or id:find('[^%w._:@/+=~-]') then return false end
  task_names[1] = KEYS[14] .. id
  local fine, claim = pcall(take_task, task_names, id, kind, worker .. '#' .. run, LASTS, ARGV[8],
    '"' .. kind .. '"')
  if not (fine and claim) or claim[1] == 0 then return false end
  table.insert(claim, 1, id)
  return claim
end
