-- Remove a worker from all keys that name it, and move its job to the failed list, atomically.
--
-- KEYS 1   failed                    2  stat:failed
--      3   key for held bytes beside the failed entry, or the worker's own
--      4…  the keys of the worker (see forget_worker)
-- ARGV 1   worker id                 2  its record as it was read; empty: none
--      3   the failed entry; empty: none
-- Returns  1 done, 0 the record has changed: read it again
-- Read by  Ruby and Node: all but resqpy's own
local gone, worker = 4, ARGV[1]
local record, held = KEYS[gone + 3], KEYS[gone + 4]
local found = redis.pcall('GET', record)
if (type(found) == 'string' and found or '') ~= ARGV[2] then return 0 end
if ARGV[3] ~= '' then
  redis.call('DEL', record .. ':') -- as in spare_memory.lua
  redis.call('RPUSH', KEYS[1], ARGV[3])
  redis.pcall('INCR', KEYS[2]) -- a counter that is not a number must not stop us
  if KEYS[3] ~= held and redis.call('EXISTS', held) == 1 then
    redis.call('RENAME', held, KEYS[3])
  end
end
-- include forget_worker
return 1
