-- Where the job of a tracked task waits, if anywhere.
--
-- KEYS 1   queue:<name>   2  prefix of the delayed lists
--      3   where jobs are parked   4  prefix of what is noted of limits
-- ARGV 1   the queue; for each spelling of the job: its text, its timestamps: key
-- Returns  "queue", "delayed" or an empty text
-- Read by  Ruby and Node: all of them
-- include parked_find
local spellings = {}
for a = 2, #ARGV, 2 do
  spellings[#spellings + 1] = ARGV[a]
  if redis.call('LPOS', KEYS[1], ARGV[a]) then return 'queue' end
  for _, member in ipairs(redis.call('SMEMBERS', ARGV[a + 1])) do
    local list = KEYS[2] .. member:sub(#'delayed:' + 1)
    local found = redis.pcall('LPOS', list, ARGV[a])
    if type(found) == 'number' then return 'delayed' end
  end
end
return is_parked(KEYS[3], KEYS[4], ARGV[1], spellings) and 'queue' or ''
