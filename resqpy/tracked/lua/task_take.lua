-- Shared by other scripts (`-- include task_take`): a worker claims a tracked task whose job it received, if
-- the task is due, its end has not passed and nobody runs it. The time is Redis' own, so that the clocks of
-- workers need not agree. Needs `free_guards`: the locks of waiting tasks are freed.
--
-- KEYS     as names: the record, tasks:locks, tasks:scheduled, tasks:pending, and the prefix of tasks:by:
-- ARGV     id, type, token of the lock, its lifetime if the record has none (ms),
--          the channel, JSON of the type
-- Returns  (take_task) nil where there is no such record; else claimed (0/1), Redis' time
--          (microseconds), the record as field, value…
local function take_task(names, id, wanted, token, lasts, channel, type_json)
  local record = names[1]
  local status, due, over, kind, lock_ms, created, started, lock, locked, guards, v = unpack(redis.call(
    'HMGET', record, 'status', 'next', 'end', 'type', 'lock_ms', 'created', 'started', 'lock', 'locked',
    'guards', 'v'))
  if not status then return nil end
  local time = redis.call('TIME')
  local now = time[1] .. string.format('%03d', math.floor(time[2] / 1000))
  local now_us = time[1] .. string.format('%06d', time[2])
  if lock == token and tonumber(locked) > tonumber(now) then -- the first reply was lost
    return { 1, now_us, redis.call('HGETALL', record) }
  end
  local waits = status == 'pending' or (status == 'scheduled' and tonumber(due) <= tonumber(now))
  local ended = over and tonumber(over) <= tonumber(now)
  if not (waits and kind == wanted) or ended then return { 0, now_us, redis.call('HGETALL', record) } end

  if not (tonumber(created) and tonumber(v or 0) and tonumber(lock_ms or lasts)) then
    error('its created, v or lock_ms is no number, so it is not taken', 0) -- before anything is written
  end
  local ends = string.format('%.0f', tonumber(now) + tonumber(lock_ms or lasts))
  redis.call('HSET', record, 'status', 'running', 'lock', token, 'locked', ends, 'delivered', now,
    'updated', now_us, 'changed', now, 'started', started or now)
  redis.call('HINCRBY', record, 'v', 1)
  if guards then free_guards(record) end
  local by, of_type = names[5], ':type:' .. kind
  redis.call('ZREM', by .. 'status:' .. status, id)
  redis.call('ZREM', by .. 'status:' .. status .. of_type, id)
  redis.call('ZADD', by .. 'status:running', created, id)
  redis.call('ZADD', by .. 'status:running' .. of_type, created, id)
  redis.call('ZREM', status == 'pending' and names[4] or names[3], id)
  redis.call('ZADD', names[2], ends, id)
  redis.call('ZADD', by .. 'modified', now_us, id)
  redis.call('ZADD', by .. 'modified' .. of_type, now_us, id)
  redis.call('PUBLISH', channel, '{"type":"task_running","content":{"id":"' .. id
    .. '","functionName":' .. type_json .. ',"status":"running"}}')
  return { 1, now_us, redis.call('HGETALL', record) }
end
