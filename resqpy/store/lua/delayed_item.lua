-- Shared by other scripts (`-- include delayed_item`): whether an item is delayed. The index says where, the
-- lists whether it is still there: index entries are left behind when others remove the item or lose their
-- connection.
--
-- KEYS     none
-- ARGV     none
-- Returns  (is_seen) whether an item is found in the searched part of a second's list;
--          (stands) whether it is in the list; (waits) whether the item of a timestamps: set is in any
local MOST_SOUGHT = 5000 -- items of a second that are searched; beyond that, the index is trusted

local function is_seen(list, item)
  return type(redis.pcall('LPOS', list, item, 'MAXLEN', MOST_SOUGHT)) == 'number'
end

local function stands(list, item)
  if is_seen(list, item) then return true end
  local length = redis.pcall('LLEN', list)
  return type(length) == 'number' and length > MOST_SOUGHT
end

local function waits(set)
  local base, item = set:match('^(.-)timestamps:({.*)$')
  for _, member in ipairs(base and redis.pcall('SMEMBERS', set) or {}) do
    if stands(base .. member, item) then return true end
  end
  return false
end
