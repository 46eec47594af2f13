-- Store a delayed item, unless it is already there at that second or a neighbouring one.
--
-- KEYS 1   delayed_queue_schedule      2  prefix of delayed lists      3  timestamps:<item>
-- ARGV 1   "in": from now; "at": at that time
--      2   milliseconds
--      3   the current time (ms since the epoch); empty: Redis' time
--      4   item
--      5   the key that says that this very call has made a job; empty: none
--      6   milliseconds that it holds
--      7…  the timestamps: keys of all spellings of the item
-- Returns  1 stored, 0 it was there, -1 it is due already, so nothing was stored, -2 that key was there; and
--          the second
-- Read by  Ruby and Node: all three

-- include due

-- include delayed_item

local now = now_ms(ARGV[3])
local due = tonumber(ARGV[2]) + (ARGV[1] == 'in' and now or 0)
local second = due_second(due)
if due <= now then return { -1, second } end
if ARGV[5] ~= '' and redis.call('EXISTS', ARGV[5]) == 1 then return { -2, second } end
for k = 7, #ARGV do
  for near = -1, 1 do -- Node rounds and Ruby truncates
    local member = 'delayed:' .. string.format('%.0f', second + near)
    if redis.call('SISMEMBER', ARGV[k], member) == 1 then
      local base, item = ARGV[k]:match('^(.-)timestamps:({.*)$')
      if stands(base .. member, item) then return { 0, second } end
    end
  end
end
redis.call('ZADD', KEYS[1], second, second) -- first: an item that is not in the index would never be found
redis.call('RPUSH', KEYS[2] .. second, ARGV[4])
redis.call('SADD', KEYS[3], 'delayed:' .. second) -- its type was checked above
if ARGV[5] ~= '' then redis.call('SET', ARGV[5], '1', 'PX', ARGV[6]) end
return { 1, second }
