-- Hold places of limits for jobs that workers of other languages run: as places outside of jobs, by leases that
-- expire where nobody leads any more. They hold theirs also where there is no room: the jobs run already.
--
-- KEYS 1   the lease (the fence)   2  prefix of what is noted of limits
-- ARGV 1   the token   2  the leases of the places (ms)   3  the channel on which workers are told to look for work
--      …   for each: who holds them, slot:foreign:… and the worker id; and that with the keys, a line each; empty: it
--          holds none any more
-- Returns  1
local fence = 1
-- include fence
-- include limit_free
local freed = false
for n = 4, #ARGV, 2 do
  local id, note = ARGV[n], ARGV[n + 1]
  local lease, before = KEYS[2] .. 'lease:' .. id, redis.call('HGET', KEYS[2] .. 'holds', id)
  if before and before ~= note then
    free_places(KEYS[2], id, '0')
    freed = true
  end
  if note == '' then
    redis.call('DEL', lease)
  else
    redis.call('SET', lease, '{"run_at":"' .. id .. '"', 'PX', ARGV[2]) -- first what can be refused
    redis.call('HSET', KEYS[2] .. 'holds', id, note)
    for key in note:gmatch('\n([^\n]+)') do redis.call('SADD', KEYS[2] .. 'slots:' .. key, id) end
  end
end
if freed then redis.pcall('PUBLISH', ARGV[3], '{"look":true}') end
return 1
