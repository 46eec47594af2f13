-- Set, change or end the rule by which a class moves between languages (exchange_moves.lua). Its counts are reset.
--
-- KEYS 1   resqpy's limits   2  prefix of what is noted of them   3, 4  what is known of shadow runs of the class
-- ARGV 1   the class   2  the rule, as exchange_moves.lua reads it; empty: it ends   3  the share of shadow runs; 0: none
-- Returns  the rule before; false: there was none
-- include migration
local field, note = '{migrate}' .. ARGV[1], KEYS[2] .. 'migration:' .. ARGV[1]
local before = redis.call('HGET', KEYS[1], field)
redis.call('DEL', note, KEYS[3], KEYS[4])
redis.call('HDEL', KEYS[1], '{shadow}' .. ARGV[1])
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], field)
else
  redis.call('HSET', KEYS[1], field, ARGV[2])
  if ARGV[3] ~= '0' then redis.call('HSET', KEYS[1], '{shadow}' .. ARGV[1], ARGV[3]) end
  redis.call('HSET', note, 'since', redis.call('TIME')[1])
end
local all, away = redis.call('HGETALL', KEYS[1]), {}
for n = 1, #all, 2 do
  local rule = all[n]:find('^{migrate}') and migration_in(all[n + 1])
  if rule then away['{away}' .. rule.target] = true end
end
for n = 1, #all, 2 do
  if all[n]:find('^{away}') and not away[all[n]] then redis.call('HDEL', KEYS[1], all[n]) end
end
for each in pairs(away) do redis.call('HSET', KEYS[1], each, 1) end
return before
