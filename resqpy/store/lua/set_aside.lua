-- Move what stands under a key of resqpy's own, and is of another kind, out of the way.
--
-- KEYS 1   the key       2  where it goes to; if something is there already, with a number behind it
-- ARGV 1   the key's own kind
-- Returns  the kind that it had and where it is now, or false: nothing was in the way
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == ARGV[1] or kind == 'none' then return false end
local target, number = KEYS[2], 1
while redis.call('RENAMENX', KEYS[1], target) == 0 do
  number = number + 1
  target = KEYS[2] .. ':' .. number
end
return { kind, target }
