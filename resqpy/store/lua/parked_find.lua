-- Shared by other scripts (`-- include parked_find`): whether a job is parked for a limit of its task.
--
-- KEYS     none of its own
-- ARGV     none
-- Returns  (is_parked) given where jobs are parked, the prefix of what is noted of limits, a queue and a job
local function is_parked(index, prefix, queue, job)
  for _, member in ipairs(redis.call('ZRANGE', index, 0, -1)) do
    local key, name = member:match('^([^\n]*)\n(.*)$')
    local list = name == queue and prefix .. 'jobs:' .. #key .. ':' .. key .. ':' .. queue
    if list and type(redis.pcall('LPOS', list, job)) == 'number' then return true end
  end
  return false
end
