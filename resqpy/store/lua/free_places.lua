-- Free the places of limits that a worker holds for a run whose record is gone: somebody else has deleted it.
--
-- KEYS 1   prefix of what is noted of limits   2  prefix of worker records
-- ARGV 1   worker id   2  what was noted of it, as it was read
-- Returns  1 they are free, 0 it has changed
-- include limit_free
if redis.call('HGET', KEYS[1] .. 'holds', ARGV[1]) ~= ARGV[2] then return 0 end
if runs(KEYS[1], KEYS[2], ARGV[1], ARGV[2]) then return 0 end
free_places(KEYS[1], ARGV[1], '0')
return 1
