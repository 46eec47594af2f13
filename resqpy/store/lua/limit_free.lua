-- Shared by other scripts (`-- include limit_free`): the record of a worker is deleted, so it holds no place of a
-- limit any more.
--
-- KEYS     none of its own
-- ARGV     none
-- Returns  (free_places) given the prefix of what is noted of limits, a worker id, and since when (ms, as text) what
--          is parked for those places has a turn, false: nothing is parked: the keys that it held;
--          (runs) whether it runs what was noted of it; (count_holders) given that prefix, that of worker records and a
--          key, how many hold a place of it, without those that run no job of it, which lose theirs
local function free_places(prefix, id, since)
  local freed, note = {}, redis.pcall('HGET', prefix .. 'holds', id)
  if type(note) ~= 'string' then return freed end
  redis.call('HDEL', prefix .. 'holds', id)
  for key in note:gmatch('\n([^\n]+)') do
    redis.pcall('SREM', prefix .. 'slots:' .. key, id)
    freed[#freed + 1] = key
    local queues = since and redis.pcall('SMEMBERS', prefix .. 'queues:' .. key) or {}
    for _, queue in ipairs(queues) do redis.pcall('ZADD', prefix .. 'ready:' .. queue, 'NX', since, key) end
  end
  return freed
end

-- Outside of jobs a place is held by a lease, which looks like a record.
local function runs(prefix, record_of, id, note)
  local since = type(note) == 'string' and note:match('^[^\n]+')
  local record = since and redis.pcall('GETRANGE', (id:find('^slot:') and prefix .. 'lease:' or record_of) .. id, 0, 4095)
  return type(record) == 'string' and record:find('"run_at":"' .. since .. '"', 1, true)
end

local function count_holders(prefix, record_of, key)
  local count = 0
  for _, id in ipairs(redis.call('SMEMBERS', prefix .. 'slots:' .. key)) do
    local note = redis.pcall('HGET', prefix .. 'holds', id)
    local alive = runs(prefix, record_of, id, note)
    if alive and note:find('\n' .. key .. '\n', 1, true) then
      count = count + 1
    else
      redis.call('SREM', prefix .. 'slots:' .. key, id)
      if not alive then free_places(prefix, id, '0') end -- those of its other keys, too
    end
  end
  return count
end
