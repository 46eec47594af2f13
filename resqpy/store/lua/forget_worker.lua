-- Shared by other scripts (`-- include forget_worker`): removes a worker that is gone, or about to be, from
-- all keys that name it, and frees the JobLocks and places of limits that its job still holds. The including script sets `gone` to
-- the position where these keys begin, and `worker` to the worker's id. A key of another type than we write
-- belongs to somebody else: it is left alone and listed in `foreign`.
--
-- KEYS gone    workers               +1  workers:heartbeat     +2  resqpy's at_most_once
--      +3      worker:<id>           +4  resqpy's held bytes   +5  resqpy's job_locks of the worker
--      +6      prefix of what is noted of limits
--      +7…     further keys of the worker (started, statistics, ping); the last of all keys
-- ARGV         none
-- Returns      nothing: the including script goes on
local foreign = {}
-- include limit_free
-- include free_locks
free_places(KEYS[gone + 6], worker, '0')

for k, command in ipairs({ 'SREM', 'HDEL', 'HDEL' }) do
  local key = KEYS[gone + k - 1]
  if type(redis.pcall(command, key, worker)) == 'table' then foreign[#foreign + 1] = key end
end
for k = gone + 3, #KEYS do
  if k == gone + 5 then
    if not free_locks(KEYS[k]) then foreign[#foreign + 1] = KEYS[k] end
  else
    local kind = redis.call('TYPE', KEYS[k]).ok
    if kind == 'string' then
      redis.call('DEL', KEYS[k])
    elseif kind ~= 'none' then
      foreign[#foreign + 1] = KEYS[k]
    end
  end
end
