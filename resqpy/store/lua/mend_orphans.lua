-- One step of a scan over all keys: adds delayed lists that are missing from the index, and drops entries of
-- timestamps: sets whose second is long past and has no list (they would block a DelayQueueLock forever).
--
-- KEYS 1-3 the fence: resqpy's lease, Ruby's lock, Node's lock
--      4   delayed_queue_schedule    5  prefix of delayed lists    6  prefix of timestamps: sets
-- ARGV 1   the leader's token        2  cursor of the scan         3  keys per step
--      4   pattern of all keys of the installation    5  age in seconds from which an entry is old
-- Returns  the next cursor, the seconds put back {second…}, entries dropped
-- Read by  Ruby and Node: all of them
local fence = 3
-- include fence

local schedule, lists, sets = KEYS[4], KEYS[5], KEYS[6]
local old = tonumber(redis.call('TIME')[1]) - tonumber(ARGV[5])
local reply = redis.call('SCAN', ARGV[2], 'MATCH', ARGV[4], 'COUNT', ARGV[3])
local found, dropped = {}, 0

local function is(key, kind) return redis.call('TYPE', key).ok == kind end

local function look_at_list(key)
  local member = key:sub(#lists + 1)
  if not is(key, 'list') or redis.call('ZSCORE', schedule, member) then return end
  redis.call('ZADD', schedule, #member < 16 and member:match('^%d+$') or 0, member)
  found[#found + 1] = member
end

local function look_at_set(key)
  if not is(key, 'set') then return end
  for _, entry in ipairs(redis.call('SMEMBERS', key)) do
    local second = entry:match('^delayed:(.*)$')
    if second and (tonumber(second) or 0) < old and redis.call('EXISTS', lists .. second) == 0 then
      dropped = dropped + redis.call('SREM', key, entry)
    end
  end
end

for _, key in ipairs(reply[2]) do
  if key:sub(1, #lists) == lists then
    look_at_list(key)
  elseif key:sub(1, #sets) == sets then
    look_at_set(key)
  end
end
return { reply[1], found, dropped }
