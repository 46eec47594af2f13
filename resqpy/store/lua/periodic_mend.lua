-- Look for the one job of a chain. If it is nowhere, the chain may continue without it.
--
-- KEYS 1   the leader's lease (the fence)
--      2   resqpy's periodic:due     3  periodic:out            4  workers
--      5   queue:<name>              6  timestamps:<job>        7  resqpy's claimed items
--      8   prefix of worker records  9  prefix of held bytes
--      10  where jobs are parked     11 prefix of what is noted of limits
-- ARGV 1   the leader's token        2  task name
--      3   the time (ms) for which its job was enqueued, as it was read
--      4   the time at which the chain is due next; empty: only look
--      5   the job
--      6   its queue
--      7…  substrings that the record of a worker running the job contains: all of them
-- Returns  where the job is: "over" (its run ended meanwhile), "queue", "delayed", "claimed" or
--          the worker's id; "mended" or "lost"
-- Read by  Ruby and Node: workers, worker:<id>, queue:<name>, timestamps:<job>
local fence = 1
-- include fence
local due, out, name, job = KEYS[2], KEYS[3], ARGV[2], ARGV[5]
if redis.call('HGET', out, name) ~= ARGV[3] then return 'over' end
if redis.pcall('TYPE', KEYS[5]).ok == 'list' and redis.call('LPOS', KEYS[5], job) then
  return 'queue'
end
-- include parked_find
if is_parked(KEYS[10], KEYS[11], ARGV[6], { job }) then return 'queue' end
if redis.call('EXISTS', KEYS[6]) == 1 then return 'delayed' end
for _, claimed in ipairs(redis.call('LRANGE', KEYS[7], 0, -1)) do
  if claimed:sub(-#job) == job then return 'claimed' end
end

local function has_it(record)
  if type(record) ~= 'string' then return false end
  for a = 7, #ARGV do
    if not record:find(ARGV[a], 1, true) then return false end
  end
  return true
end

for _, id in ipairs(redis.call('SMEMBERS', KEYS[4])) do
  local record = redis.pcall('GET', KEYS[8] .. id)
  if has_it(record) or (record and redis.pcall('GET', KEYS[9] .. id) == job) then return id end
end
if ARGV[4] == '' then return 'lost' end
redis.call('ZADD', due, ARGV[4], name) -- first: if it is refused, the chain stays where it is
redis.call('HDEL', out, name)
return 'mended'
