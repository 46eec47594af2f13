-- Note what the code says of the limits of tasks, and the config of those of queues; what is set by hand stays.
--
-- KEYS 1   resqpy's limits   2  where jobs are parked   3  prefix of what is noted of limits
--      4   workers           5  prefix of worker records   6  the limits under which foreign jobs are counted
-- ARGV 1   number of tasks; for each: its name, its limits as exchange_keys.lua reads them, empty: it has none
--      …   number of limits; for each: its name, how many, "count": foreign jobs, too, empty: not
--      …   number of queues with a limit; for each: its name, how many
--      …   the channel on which workers are told to look for work
-- Returns  how many fields were changed
-- include limits_changed
-- include limit_seed
local at, changed, old, touched = 1, 0, {}, {}
local function word()
  at = at + 1
  return ARGV[at - 1]
end

-- Returns what was said, and whether that is another.
local function note(field, value, key)
  key = key or KEYS[1]
  local was = redis.call('HGET', key, field)
  if was == value or (not was and value == '') then return was, false end
  changed = changed + 1
  if value == '' then redis.call('HDEL', key, field) else redis.call('HSET', key, field, value) end
  return was, true
end

for _ = 1, tonumber(word()) do
  local task, text = word(), word()
  local was, other = note('{task}' .. task, text)
  for name in (was or ''):gmatch('([^\n\t]+)\t') do old[name], touched[name] = true, other or touched[name] end
  for name in text:gmatch('([^\n\t]+)\t') do touched[name] = other or touched[name] end
end
for _ = 1, tonumber(word()) do
  local name, most = word(), word()
  local _, other = note('{limit}' .. name, most)
  note(name, word(), KEYS[6])
  old[name], touched[name] = nil, other or touched[name]
end
for _ = 1, tonumber(word()) do
  local queue, most = word(), word()
  local was = note('{queue}' .. queue, most)
  if not was and redis.call('HEXISTS', KEYS[1], queue) == 0 then -- what runs now counts
    seed(redis.pcall('SMEMBERS', KEYS[4]), KEYS[5], KEYS[3] .. 'holders:' .. queue, queue)
  end
end
if next(old) then -- of those that no task has any more only what was set by hand is kept
  local all = redis.call('HGETALL', KEYS[1])
  for n = 1, #all, 2 do
    if all[n]:find('^{task}') then
      for name in all[n + 1]:gmatch('([^\n\t]+)\t') do old[name] = nil end
    end
  end
  for name in pairs(old) do
    redis.call('HDEL', KEYS[1], '{limit}' .. name)
    redis.call('HDEL', KEYS[6], name)
  end
end
if changed > 0 then tell_parked(touched, word()) end
return changed
