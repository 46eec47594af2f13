-- Move the job of one failed entry back to the tail of its queue: entry and job change in one step.
--
-- KEYS 1   the failed list     2  set of queue names      3  queue:<name>
-- ARGV 1   the entry           2  queue name              3  the job's bytes
--      4   key of the bytes kept aside for it (then they are the job), or an empty text
--      5   now, seconds since the epoch
--      …   guards, three words each: "lock" key seconds, or "absent" key 0 (see enqueue.lua)
-- Returns  "retried", "vetoed", "absent"
-- Read by  Ruby and Node: all three
local now = tonumber(ARGV[5])
local job = ARGV[3]
if ARGV[4] ~= '' then
  job = redis.call('GET', ARGV[4])
  if not job then return 'absent' end
end
for g = 6, #ARGV, 3 do
  local held = redis.call('EXISTS', ARGV[g + 1]) == 1
  if held and ARGV[g] == 'lock' then
    held = (tonumber((redis.call('GET', ARGV[g + 1]) or ''):match('^%s*%d+')) or 0) >= now
  end
  if held then return 'vetoed' end
end
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 'absent' end
for g = 6, #ARGV, 3 do
  if ARGV[g] == 'lock' then
    local seconds = tonumber(ARGV[g + 2])
    redis.call('SET', ARGV[g + 1], string.format('%.0f', now + seconds + 1), 'EX', seconds)
  end
end
redis.call('SADD', KEYS[2], ARGV[2])
redis.call('RPUSH', KEYS[3], job)
if ARGV[4] ~= '' then redis.call('DEL', ARGV[4]) end
return 'retried'
