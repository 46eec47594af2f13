-- Shared by exchange.lua (`-- include exchange_fence`): whether an exchange may claim anything. A gate only
-- rises, so that what was sent before a lost reply claims nothing after it.
--
-- KEYS     those of exchange.lua: 9
-- ARGV     5 and 6 there
-- Returns  fenced, gate: as there
local fenced, gate = 0, 0
if ARGV[5] ~= '' then
  local value = redis.pcall('HGET', KEYS[9], ARGV[5])
  gate = type(value) == 'string' and tonumber(value) or false
  if not gate then
    fenced, gate = 1, 0
  elseif gate > tonumber(ARGV[6]) then
    fenced = 2
  elseif gate < tonumber(ARGV[6]) then
    redis.call('DEL', record_of .. ':') -- so that Redis refuses no write for lack of memory
    local reply = redis.pcall('HSET', KEYS[9], ARGV[5], ARGV[6])
    if type(reply) == 'table' and reply.err then fenced = 3 end
  end
end
