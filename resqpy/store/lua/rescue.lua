-- Take back the job of a dead worker, and remove the worker from all keys that name it, atomically.
--
-- KEYS 1   the leader's lease (the fence)
--      2   resqpy's processes        3  resqpy's rescues     4  queues
--      5   stat:failed               6  where the job goes: queue:<name> or failed
--      7   key for held bytes beside a failed entry, or the worker's own
--      8…  the keys of the worker (see forget_worker)
-- ARGV 1   the leader's token        2  incarnation of the worker's process
--      3   the process is dead if its last heartbeat is before this (seconds, Redis' clock)
--      4   worker id                 5  its record as it was read; empty: none
--      6   "LPUSH" (back to its queue), "RPUSH" (to failed) or empty (there is no job)
--      7   what is pushed; empty: the held bytes
--      8   queue name                9  digest of the job    10 its rescues now; empty: forget them
--      11  the worker is dead, though its process is alive, if its heartbeat is still this; empty: no
--      12  its mark of a run that must not be repeated, as it was read; empty: none
-- Returns  nothing: the process is alive or the record has changed; else the keys of the worker
--          that are of another type than we write and were left alone
-- Read by  Ruby and Node: all but resqpy's own
local fence = 1
-- include fence
local gone, worker = 8, ARGV[4]
local record, held = KEYS[gone + 3], KEYS[gone + 4]
local seen = redis.call('ZSCORE', KEYS[2], ARGV[2])
if seen and tonumber(seen) >= tonumber(ARGV[3])
    and (ARGV[11] == '' or redis.call('HGET', KEYS[gone + 1], worker) ~= ARGV[11]) then
  return false
end
local found = redis.pcall('GET', record)
if (type(found) == 'string' and found or '') ~= ARGV[5] then return false end
-- A process that woke up may have started the run since its mark was read.
local mark = redis.pcall('HGET', KEYS[gone + 2], worker)
if (type(mark) == 'string' and mark or '') ~= ARGV[12] then return false end
if ARGV[6] ~= '' then
  local job = ARGV[7]
  if job == '' then job = redis.pcall('GET', held) end
  if type(job) ~= 'string' then return false end
  redis.call('DEL', record .. ':') -- as in spare_memory.lua
  -- do first what can be refused: a job that is pushed and stays in its record would be pushed again
  redis.call('HEXISTS', KEYS[3], ARGV[9])
  if ARGV[6] == 'LPUSH' then redis.call('SADD', KEYS[4], ARGV[8]) end
  redis.call(ARGV[6], KEYS[6], job)
  if ARGV[6] == 'RPUSH' then
    redis.pcall('INCR', KEYS[5]) -- a counter that is not a number must not stop us
    if KEYS[7] ~= held and redis.call('EXISTS', held) == 1 then
      redis.call('RENAME', held, KEYS[7])
    end
  end
  if ARGV[10] ~= '' then
    redis.call('HSET', KEYS[3], ARGV[9], ARGV[10])
  else
    redis.call('HDEL', KEYS[3], ARGV[9])
  end
end
-- include forget_worker
return foreign
