-- Shared by other scripts (`-- include spare_memory`): a write that needs no memory. After one, Redis does not
-- refuse the script's other writes for lack of memory, so what must work at full memory does.
--
-- KEYS 1   any key of the script: a neighbour that never exists is deleted
-- ARGV     none
-- Returns  nothing: the including script goes on
redis.call('DEL', KEYS[1] .. ':')
