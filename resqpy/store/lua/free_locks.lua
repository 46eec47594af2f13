-- Shared by other scripts (`-- include free_locks`): a worker is gone, or about to be, and so is its run: it holds no
-- JobLock any more.
--
-- KEYS     none of its own
-- ARGV     none
-- Returns  (free_locks) given the key of resqpy's job_locks of a worker, frees those that are still its own, and
--          deletes the key; false: that is of another type, and is left alone
local function free_locks(key)
  local locks = redis.pcall('HGETALL', key)
  if locks.err then return false end
  for l = 1, #locks, 2 do
    if redis.pcall('GET', locks[l]) == locks[l + 1] then redis.call('DEL', locks[l]) end
  end
  redis.call('DEL', key)
  return true
end
