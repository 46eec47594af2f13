-- Push jobs at the tail of their queues, unless a lock forbids it; all or nothing of each job.
-- The locks of node-resque's QueueLock and DelayQueueLock are taken here, so that a job that is
-- not pushed never leaves one behind.
--
-- KEYS 1         set of queue names
-- ARGV 1         now, seconds since the epoch
--      2         RPUSH or LPUSH
--      3         number of jobs; for each job:
--                queue name, queue key, payload, number of guards; for each guard three words:
--                  "lock", key, seconds it holds   (QueueLock: vetoes while its time is not over)
--                  "absent", key, 0                (DelayQueueLock: vetoes while the key exists)
-- Returns        one number for each job: 1 pushed, 0 vetoed
-- Read by        Ruby and Node: queues, queue:<name>, lock:<…>
local now, push, at = tonumber(ARGV[1]), ARGV[2], 4
local done = {}

local function take_lock(key, seconds)
  local held = redis.call('GET', key)
  -- a value that is no number, or a time that is over, is taken over, as node-resque does
  if held and (tonumber(held:match('^%s*%d+')) or 0) >= now then
    return false
  end
  redis.call('SET', key, string.format('%.0f', now + seconds + 1), 'EX', seconds)
  return true
end

for job = 1, tonumber(ARGV[3]) do
  local queue, key, payload, guards = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  at = at + 4
  local allowed, taken = true, {}
  for _ = 1, guards do
    local kind, guard, seconds = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
    at = at + 3
    if allowed and kind == 'lock' then
      allowed = take_lock(guard, seconds)
      if allowed then taken[#taken + 1] = guard end
    elseif allowed then
      allowed = redis.call('EXISTS', guard) == 0
    end
  end
  if allowed then
    redis.call('SADD', KEYS[1], queue)
    redis.call(push, key, payload)
    done[job] = 1
  else
    for _, lock in ipairs(taken) do redis.call('DEL', lock) end
    done[job] = 0
  end
end
return done
