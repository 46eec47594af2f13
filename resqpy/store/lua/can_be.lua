-- Shared by other scripts (`-- include can_be`): whether a key can be of a kind, which is asked before the
-- first write: a script that meets an error half-way is not taken back.
--
-- KEYS     none
-- ARGV     none
-- Returns  (can_be) whether it is of that kind, or is not there
local function can_be(kind, key)
  local found = redis.call('TYPE', key).ok
  return found == kind or found == 'none'
end
