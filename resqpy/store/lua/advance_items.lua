-- Move delayed jobs of one second to their queues early: each is always in exactly one of the two.
--
-- KEYS 1   delayed:<second>   2  prefix of the timestamps: sets   3  set of queue names
-- ARGV 1   the member that the sets have for the second           2  number of jobs; for each:
--            its index (a hint that saves a search), its bytes, queue name, queue key, its bytes there
--            (empty: the same), number of guards, guards (guards.lua)
-- Returns  for each job 1 moved, 0 it was gone, -1 a guard forbids it: it stays, or the
--          error that kept it where it was
-- Read by  Ruby and Node: delayed:<second>, timestamps:<item>, queues, queue:<name>
local GONE = '\0resqpy: gone\0' -- only present inside this script
local at, done, marked = 3, {}, 0

local function word()
  at = at + 1
  return ARGV[at - 1]
end

-- include guards

local function place_of(hint, item)
  if redis.call('LINDEX', KEYS[1], hint) == item then return hint end
  return redis.call('LPOS', KEYS[1], item)
end

local function push(queue, key, item)
  redis.call('RPUSH', key, item)
  redis.call('SADD', KEYS[3], queue)
end

local function advance(place, item, queue, key, there, guards)
  local set = KEYS[2] .. item
  local indexed = redis.pcall('SREM', set, ARGV[1]) == 1 -- before its own DelayQueueLock is checked
  local fine, taken = pcall(pass, guards)
  local problem = -1
  if not fine then
    problem, taken = taken, nil
  elseif taken then
    fine, problem = pcall(push, queue, key, there == '' and item or there)
  end
  if taken and fine then
    redis.call('LSET', KEYS[1], place, GONE)
    marked = marked + 1
    return 1
  end
  if taken then free(taken) end
  if indexed then redis.call('SADD', set, ARGV[1]) end
  return type(problem) == 'table' and problem.err or problem
end

for n = 1, tonumber(ARGV[2]) do
  local hint, item, queue, key, there = tonumber(word()), word(), word(), word(), word()
  local guards = read_guards()
  local place = place_of(hint, item)
  done[n] = place and advance(place, item, queue, key, there, guards) or 0
end
if marked > 0 then redis.call('LREM', KEYS[1], marked, GONE) end
return done
