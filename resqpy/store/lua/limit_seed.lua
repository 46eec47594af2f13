-- Shared by other scripts (`-- include limit_seed`): a queue has a limit from now on.
--
-- KEYS     none of its own
-- ARGV     none
-- Returns  (seed) the workers that run a job of a queue hold its places: given them all, the prefix of their
--          records, the set of holders and the queue
local function seed(ids, record_of, holders, queue)
  for _, id in ipairs(ids) do
    local record = redis.pcall('GETRANGE', record_of .. id, 0, #queue + 20)
    local name = type(record) == 'string' and record:match('^{"queue":"([^"\\]*)"')
    if name and (name:match('^(.+)%^%-?[1-9]$') or name) == queue then redis.pcall('SADD', holders, id) end
  end
end
