-- Makes the index of delayed jobs match their lists, checking each again: adds lists missing from the index,
-- removes index entries without a list, and entries of timestamps: sets whose second has no list.
--
-- KEYS 1   delayed_queue_schedule    2   prefix of delayed lists    3-  timestamps: sets
-- ARGV 1-  members of the index (seconds as text), as many as there are
-- Returns  how many were repaired
-- Read by  Ruby and Node: all of them
local schedule, lists = KEYS[1], KEYS[2]
local mended = 0

for _, member in ipairs(ARGV) do
  local exists = redis.call('EXISTS', lists .. member) == 1
  local known = redis.call('ZSCORE', schedule, member)
  if exists and not known then
    mended = mended + redis.call('ZADD', schedule, #member < 16 and member:match('^%d+$') or 0, member)
  elseif known and not exists then
    mended = mended + redis.call('ZREM', schedule, member)
  end
end

for k = 3, #KEYS do
  for _, entry in ipairs(redis.call('SMEMBERS', KEYS[k])) do
    local second = entry:match('^delayed:(.*)$')
    if second and redis.call('EXISTS', lists .. second) == 0 then
      mended = mended + redis.call('SREM', KEYS[k], entry)
    end
  end
end

return mended
