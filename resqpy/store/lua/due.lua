-- Shared by other scripts (`-- include due`): when something is due, by Redis' own clock, because the clocks
-- of the machines may be wrong; a test may pass another time.
--
-- KEYS     none
-- ARGV     none
-- Returns  (now_ms) milliseconds since the epoch: the given ones, or Redis' own if that is empty;
--          (due_second) the first whole second not before a time in milliseconds, as text;
--          (lock_value) what node-resque writes into a lock: the rounded second of now, how many
--          seconds it holds, and 1
local function now_ms(told)
  if told and told ~= '' then return tonumber(told) end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function due_second(ms) return string.format('%.0f', math.ceil(ms / 1000)) end

local function lock_value(seconds)
  return string.format('%.0f', math.floor((now_ms() + 500) / 1000) + seconds + 1)
end
