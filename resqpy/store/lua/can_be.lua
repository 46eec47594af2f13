-- Shared by other scripts (`-- include can_be`): whether a key has, or can get, a type. Checked before the
-- first write, because a script that fails half-way is not rolled back.
--
-- KEYS     none
-- ARGV     none
-- Returns  (can_be) whether it has that type or does not exist
local function can_be(kind, key)
  local found = redis.call('TYPE', key).ok
  return found == kind or found == 'none'
end
