-- Push jobs at the tail of their queues, unless a lock forbids it; each job atomically. The locks of
-- node-resque's QueueLock and DelayQueueLock are taken here, so that a job that is not pushed never leaves one
-- behind.
--
-- KEYS 1         set of queue names
-- ARGV 1         RPUSH or LPUSH
--      2         number of jobs; for each job:
--                queue name, queue key, payload, number of guards; for each guard three words:
--                  "lock", key, seconds it holds   (QueueLock: vetoes until it expires)
--                  "absent", key, 0                (vetoes while the key exists)
--                  "delayed", timestamps: key, 0   (DelayQueueLock: vetoes while that item is delayed)
--                  "once", key, milliseconds       (vetoes while the key of an earlier call is there)
--                  "room", queue key, limit        (vetoes while so many jobs wait)
--                  "stamp", place, milliseconds    (writes when they are over over the 13 digits behind
--                                                   that many bytes of the payload)
-- Returns        one number for each job: 1 pushed, -n vetoed by its n-th guard; or the error of the first
--                job that Redis refused: those before it are pushed
-- Read by        Ruby and Node: queues, queue:<name>, lock:<…>
local push, at, done = ARGV[1], 3, {}
local function word()
  at = at + 1
  return ARGV[at - 1]
end

-- include guards

local function refused(...)
  local reply = redis.pcall(...)
  return type(reply) == 'table' and reply.err and reply.err:gsub('%s+$', '')
end

local function stamped(payload, guards)
  for _, guard in ipairs(guards) do
    if guard[1] == 'stamp' then
      local time = redis.call('TIME')
      local ends = string.format('%013.0f', time[1] * 1000 + math.floor(time[2] / 1000) + guard[3])
      payload = payload:sub(1, guard[2]) .. ends .. payload:sub(guard[2] + #ends + 1)
    end
  end
  return payload
end

for job = 1, tonumber(ARGV[2]) do
  local queue, key, payload = word(), word(), word()
  local guards = read_guards()
  local fine, locks, guard = pcall(pass, guards)
  if locks then
    local problem
    if fine then
      problem = refused('SADD', KEYS[1], queue) or refused(push, key, stamped(payload, guards))
    else
      problem, locks = type(locks) == 'table' and locks.err or locks, NONE
    end
    if problem then
      free(locks)
      return redis.error_reply(problem .. ' (' .. key .. '; jobs pushed before it: ' .. job - 1 .. ')')
    end
    done[job] = 1
  else
    done[job] = -guard
  end
end
return done
