-- Heartbeat of a process: registers its workers (again, if they are missing), writes a Ruby heartbeat for
-- each, and returns whether there is work and whether all workers are paused.
--
-- KEYS 1   workers   2  workers:heartbeat   3  resqpy's processes   4  pause-all-workers
--      5   queues    6  resqpy's gates      7  resqpy's lives       8  resqpy's rescuer
--      9   the orders to the process  10  when records were searched for
--     11   what is parked             12  who holds places of limits   13…  the queues to look at
-- ARGV 1   incarnation of the process
--      2   when its workers started, as Ruby writes it
--      3   epoch of its gate, which is opened; empty: a heartbeat alone never opens a gate
--      4   its life as JSON, which gives its ids; empty: already stored
--      5   seconds of silence after which a process is dead
--      6   key of the leader, which a worker may only read: a key of a script it would have to be able to write
--      7   number of workers; for each: id, key of its start
-- Returns  Redis' time (seconds, microseconds), which of the queues have jobs {index…}, the first
--          hundred or so; whether others may have some (0/1), paused (0/1), newly registered,
--          number of queues, whether a rescue is needed for which nobody is there (0/1), the orders
--          that wait
-- Read by  Ruby: workers, workers:heartbeat, worker:<id>:started, pause-all-workers; Node: workers
local time = redis.call('TIME')
local seconds = tonumber(time[1])

local function iso(epoch)
  local days, rest = math.floor(epoch / 86400), epoch % 86400
  local z = days + 719468 -- days from 0000-03-01; Howard Hinnant's civil_from_days
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524)
    - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local day = doy - math.floor((153 * mp + 2) / 5) + 1
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d+00:00', year, month, day,
    math.floor(rest / 3600), math.floor(rest % 3600 / 60), rest % 60)
end

local now, fields, ids, fresh = iso(seconds), {}, {}, 0
for w = 1, tonumber(ARGV[7]) do
  local id = ARGV[6 + 2 * w]
  ids[w] = id
  fields[2 * w - 1], fields[2 * w] = id, now
end
local seen = time[1] .. '.' .. string.format('%06d', tonumber(time[2]))
local noted = redis.pcall('ZADD', KEYS[3], seen, ARGV[1])
if type(noted) == 'table' and noted.err then
  -- at full memory: after a write that needs no memory, Redis accepts the others of the script
  redis.call('DEL', KEYS[1] .. ':')
  redis.call('ZADD', KEYS[3], seen, ARGV[1])
end
if ARGV[3] ~= '' then redis.call('HSET', KEYS[6], ARGV[1], ARGV[3]) end
if ARGV[4] ~= '' then redis.call('HSET', KEYS[7], ARGV[1], ARGV[4]) end
if #ids > 0 then
  for w = 1, #ids, 1000 do -- unpack has a limit
    local last = math.min(w + 999, #ids)
    redis.call('HSET', KEYS[2], unpack(fields, 2 * w - 1, 2 * last))
    fresh = fresh + redis.call('SADD', KEYS[1], unpack(ids, w, last))
  end
  if fresh > 0 then
    for w = 1, #ids do redis.call('SET', ARGV[7 + 2 * w], ARGV[2], 'NX') end
  end
end

local work, more = {}, 0
for q = 13, #KEYS, 100 do
  local last = math.min(q + 99, #KEYS)
  if redis.call('EXISTS', unpack(KEYS, q, last)) > 0 then
    if #work >= 100 then
      more = 1
      break
    end
    for each = q, last do
      if redis.call('EXISTS', KEYS[each]) == 1 then work[#work + 1] = each - 12 end
    end
  end
end
-- nil for a key of another type
local known = redis.call('MGET', KEYS[4], KEYS[8], KEYS[9], ARGV[6], KEYS[10])
local paused = known[1] and known[1]:lower():match('^%s*true%s*$') and 1 or 0

-- a dead process, one that somebody removed, a job that waits for a limit or holds a place of one, or no
-- search of late; and in doubt
local function is_rescue_needed()
  local lives = redis.pcall('HLEN', KEYS[7])
  return not known[5] or redis.call('EXISTS', KEYS[11], KEYS[12]) > 0 or type(lives) ~= 'number'
    or lives > redis.call('ZCARD', KEYS[3])
    or #redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', '(' .. seconds - (tonumber(ARGV[5]) or 0), 'LIMIT', 0, 1) > 0
end
local leads = known[4] and known[4]:find('%+scheduler%-%w+:%d+:2/%d+$') -- and reads the ids of today
local needed = not known[2] and not leads and is_rescue_needed()
return { time[1], time[2], work, more, paused, fresh, redis.call('SCARD', KEYS[5]),
  needed and 1 or 0, known[3] or '' }
