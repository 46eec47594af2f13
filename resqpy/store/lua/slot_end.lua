-- Give back a place of a limit that was taken outside of jobs.
--
-- KEYS 1   prefix of what is noted of limits
-- ARGV 1   who holds it   2  the channel on which workers are told to look for work
-- Returns  nothing
-- include limit_free
redis.call('DEL', KEYS[1] .. 'lease:' .. ARGV[1])
free_places(KEYS[1], ARGV[1], '0')
redis.pcall('PUBLISH', ARGV[2], '{"look":true}')
