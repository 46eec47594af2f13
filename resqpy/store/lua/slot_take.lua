-- Take a place of a limit outside of jobs, for as long as its lease is renewed.
--
-- KEYS 1   resqpy's limits   2  where jobs are parked   3  prefix of what is noted of limits
--      4   prefix of worker records
-- ARGV 1   the key: name, or name=value   2  who holds it: slot:… and something unique   3  the lease (ms)
-- Returns  1 taken, 0 there is none now, -1 there is no limit of that name, -2 it is a rate
-- include due
-- include limit_free
local key, id, name = ARGV[1], ARGV[2], ARGV[1]:match('^[^=]*')
local fields = redis.call('HMGET', KEYS[1], '{set}' .. key, '{set}' .. name, '{limit}' .. name, '{shut}' .. key,
  '{shut}' .. name)
local rule = fields[1] or fields[2] or fields[3]
if not rule then return -1 end
local most = tonumber(rule)
if not most then return -2 end
for n = 4, 5 do
  if (tonumber(fields[n]) or 0) > now_ms() then return 0 end
end
local count = redis.call('SCARD', KEYS[3] .. 'slots:' .. key)
if count >= most then count = count_holders(KEYS[3], KEYS[4], key) end
if count >= most then return 0 end
redis.call('HSET', KEYS[3] .. 'holds', id, id .. '\n' .. key .. '\n') -- first what can be refused
redis.call('SET', KEYS[3] .. 'lease:' .. id, '{"run_at":"' .. id .. '"', 'PX', ARGV[3])
redis.call('SADD', KEYS[3] .. 'slots:' .. key, id)
return 1
