-- Move jobs of one queue to the tail of another, each atomically. The lock of a QueueLock moves with its job;
-- if an equal job already waits under the other queue's lock, the job stays.
--
-- KEYS 1    the source queue    2  the target queue    3  set of queue names
-- ARGV 1    name of the target queue; then for each job five arguments: its index (a hint that saves a
--           search), its bytes, its bytes there, key of its lock here (empty: none), key of its lock there
-- Returns   for each job 1 moved, 0 it was gone, -1 its lock there is taken; or the error
--           of the first that Redis refused: it stays, and those before it are moved
-- Read by   Ruby and Node: queues, queue:<name>, lock:<…>
local GONE = '\0resqpy: gone\0' -- only present inside this script
local done, marked = {}, 0

-- include can_be

if not can_be('list', KEYS[2]) or not can_be('set', KEYS[3]) then
  return redis.error_reply('WRONGTYPE ' .. KEYS[2] .. ' is no list, or ' .. KEYS[3] .. ' is no set')
end

local function place_of(hint, bytes)
  if redis.call('LINDEX', KEYS[1], hint) == bytes then return hint end
  return redis.call('LPOS', KEYS[1], bytes)
end

local function move(hint, bytes, bytes_there, lock, lock_there)
  local place = place_of(hint, bytes)
  if not place then return 0 end
  local locked = lock ~= '' and lock ~= lock_there and redis.call('EXISTS', lock) == 1
  if locked and redis.call('EXISTS', lock_there) == 1 then return -1 end
  if marked == 0 then redis.call('SADD', KEYS[3], ARGV[1]) end
  if locked then redis.call('RENAMENX', lock, lock_there) end
  redis.call('RPUSH', KEYS[2], bytes_there)
  redis.call('LSET', KEYS[1], place, GONE)
  marked = marked + 1
  return 1
end

local problem
for a = 2, #ARGV, 5 do
  local fine, word = pcall(move, tonumber(ARGV[a]), unpack(ARGV, a + 1, a + 4))
  if not fine then
    problem = type(word) == 'table' and word.err or word
    break
  end
  done[#done + 1] = word
end
if marked > 0 then redis.call('LREM', KEYS[1], marked, GONE) end
return problem and redis.error_reply(problem) or done
