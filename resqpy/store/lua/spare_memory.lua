-- Shared by other scripts (`-- include spare_memory`): a write that needs no memory. After one, Redis
-- refuses a script no others for want of it, so what has to go on at full memory does.
--
-- KEYS 1   any of the script's: one beside it, which nobody has, is deleted
-- ARGV     none
-- Returns  nothing: the including script goes on
redis.call('DEL', KEYS[1] .. ':')
