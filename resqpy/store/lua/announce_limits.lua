-- Note what the code says of the limits of tasks, and the config of those of queues; what is set by hand stays.
--
-- KEYS 1   resqpy's limits   2  where jobs are parked   3  prefix of what is noted of limits
-- ARGV 1   number of tasks; for each: its name, its limits as exchange_keys.lua reads them, empty: it has none
--      …   number of limits; for each: its name, how many
--      …   number of queues with a limit; for each: its name, how many
--      …   the channel on which workers are told to look for work
-- Returns  how many fields were changed
local at, changed, old = 1, 0, {}
local function word()
  at = at + 1
  return ARGV[at - 1]
end

local function note(field, value)
  local was = redis.call('HGET', KEYS[1], field)
  if was == value or (not was and value == '') then return was end
  changed = changed + 1
  if value == '' then redis.call('HDEL', KEYS[1], field) else redis.call('HSET', KEYS[1], field, value) end
  return was
end

for _ = 1, tonumber(word()) do
  local was = note('{task}' .. word(), word())
  for name in (was or ''):gmatch('([^\n\t]+)\t') do old[name] = true end
end
for _ = 1, tonumber(word()) do
  local name, most = word(), word()
  old[name] = nil
  note('{limit}' .. name, most)
end
for _ = 1, tonumber(word()) do note('{queue}' .. word(), word()) end
if next(old) then -- of those that no task has any more only what was set by hand is kept
  local all = redis.call('HGETALL', KEYS[1])
  for n = 1, #all, 2 do
    if all[n]:find('^{task}') then
      for name in all[n + 1]:gmatch('([^\n\t]+)\t') do old[name] = nil end
    end
  end
  for name in pairs(old) do redis.call('HDEL', KEYS[1], '{limit}' .. name) end
end
-- include limits_changed
if changed > 0 then tell_all_parked(word()) end
return changed
