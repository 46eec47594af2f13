-- Undo a push of which Redis refused a part: its jobs, or the name of its queue, are there without the other.
--
-- KEYS 1         set of queue names
--      2         the queue
-- ARGV 1         the queue's name, where the push has added it; "": it has not
--      2         RPUSH or LPUSH
--      3…        jobs that were pushed
-- Returns        how many of them were still there, and are not any more
-- Read by        Ruby and Node: queues, queue:<name>
local gone = 0
for job = 3, #ARGV do
  gone = gone + redis.call('LREM', KEYS[2], ARGV[2] == 'RPUSH' and -1 or 1, ARGV[job])
end
if ARGV[1] ~= '' and redis.call('TYPE', KEYS[2]).ok ~= 'list' then
  redis.call('SREM', KEYS[1], ARGV[1])
end
return gone
