-- Shared by exchange.lua and migrate.lua (`-- include migration`): the rule of a class that moves between languages.
--
-- KEYS     none
-- ARGV     none
-- Returns  (migration_in) what a text says, `SHARE OVER ERRORS MS LANGUAGE QUEUE` (exchange_moves.lua); false: it is no
--          rule, here as in Migration.read (migrations.py)
local function migration_in(text)
  local share, over, errors, ms, language, queue = text:match('^(%d+) (%d+) (%d+) (%d+) (%S+) (.+)$')
  if not queue or tonumber(share) > 10000 or math.max(#share, #errors) > 5 or math.max(#over, #ms) > 12 then return false end
  return { share = tonumber(share), rest = text:match('^%d+( .+)$'), over = tonumber(over), errors = tonumber(errors),
    ms = tonumber(ms), queue = queue, target = queue .. '.' .. language }
end
