-- Shared by other scripts (`-- include fence`): nothing is done for a scheduler that leads no more.
-- The including script says in `fence` how many keys are asked.
--
-- KEYS 1…  the leader's lease; where Ruby's and Node's locks are needed too, these behind it
-- ARGV 1   the leader's token
-- Returns  the error DEPOSED, or nothing: the including script goes on
for k = 1, fence do
  if redis.pcall('GET', KEYS[k]) ~= ARGV[1] then
    return redis.error_reply('DEPOSED another scheduler leads')
  end
end
