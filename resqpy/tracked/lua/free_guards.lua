-- Shared by other scripts (`-- include free_guards`): frees the locks that the creation of a tracked task took
-- (QueueLock's), if they are still its own: they have the same value as then.
--
-- KEYS     none; the record, and the locks that it names
-- ARGV     none
-- Returns  (free_guards) nothing
local function free_guards(record)
  local held = redis.call('HGET', record, 'guards') or '' -- for each: length of its key:value:key
  if held ~= '' then redis.call('HDEL', record, 'guards') end
  local at = 1
  while at <= #held do
    local size, value, first = held:match('^(%d+):(%d+):()', at)
    if not size then return end -- somebody has changed it
    at = first + size
    local lock = held:sub(first, at - 1)
    if redis.pcall('GET', lock) == value then redis.pcall('DEL', lock) end
  end
end
