-- Shared by other scripts (`-- include parked_find`): whether one of some jobs is parked for a limit of its task.
--
-- KEYS     none of its own
-- ARGV     none
-- Returns  (is_parked) given where jobs are parked, the prefix of what is noted of limits, a queue and jobs
local function is_parked(index, prefix, queue, jobs)
  local ending = '\n' .. queue
  for _, member in ipairs(redis.call('ZRANGE', index, 0, -1)) do -- once: there may be very many keys
    local key = member:sub(-#ending) == ending and member:sub(1, -#ending - 1)
    local list = key and prefix .. 'jobs:' .. #key .. ':' .. key .. ':' .. queue
    for _, job in ipairs(list and jobs or {}) do
      if type(redis.pcall('LPOS', list, job)) == 'number' then return true end
    end
  end
  return false
end
