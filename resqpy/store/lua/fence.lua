-- Shared by other scripts (`-- include fence`): nothing is done for a scheduler that is no longer the leader.
-- The including script sets `fence` to the number of keys to check.
--
-- KEYS 1…  the leader's lease; followed by Ruby's and Node's locks if they are needed too
-- ARGV 1   the leader's token
-- Returns  the error DEPOSED, or nothing: the including script goes on
for k = 1, fence do
  if redis.pcall('GET', KEYS[k]) ~= ARGV[1] then
    return redis.error_reply('DEPOSED another scheduler leads')
  end
end
