-- Move a value of the wrong type under one of resqpy's own keys out of the way.
--
-- KEYS 1   the key       2  the target; if it exists, a number is appended
-- ARGV 1   the right type of the key
-- Returns  the type that it had and where it is now, or false: nothing was wrong
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == ARGV[1] or kind == 'none' then return false end
local target, number = KEYS[2], 1
while redis.call('RENAMENX', KEYS[1], target) == 0 do
  number = number + 1
  target = KEYS[2] .. ':' .. number
end
return { kind, target }
