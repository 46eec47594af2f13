-- Give up the lease and the foreign locks, each only if it is still ours.
--
-- KEYS 1…  the lease, the record of the foreign locks, the foreign locks
-- ARGV 1   our token
-- Returns  how many were given up
-- Read by  Ruby: its master lock; Node: its leader lock
local given = 0
for _, key in ipairs(KEYS) do
  if redis.pcall('GET', key) == ARGV[1] then given = given + redis.call('DEL', key) end
end
return given
