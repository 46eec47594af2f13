-- Remove one failed entry by its bytes, and what was kept aside for it.
--
-- KEYS 1   the failed list
-- ARGV 1   the entry      2  key of the bytes kept for it, or an empty text
-- Returns  how many entries were removed (0 or 1)
-- Read by  Ruby and Node: failed
local removed = redis.call('LREM', KEYS[1], 1, ARGV[1])
if removed > 0 and ARGV[2] ~= '' then redis.call('DEL', ARGV[2]) end
return removed
