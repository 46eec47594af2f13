-- Move single items out of a delayed list, or the list of claimed ones, each atomically. An item that is gone
-- is skipped.
--
-- KEYS 1…  the fence (as many keys as ARGV 2 says); then
--      +1  the list   +2  set of queue names   +3  resqpy's list of claimed items
-- ARGV 1   the leader's token           2  number of fence keys
--      3   the list's member in timestamps: sets, or an empty text
--      4   number of items; for each: its text in the list, its timestamps: key, then one of
--            "push", queue name, queue key, payload, number of guards, guards (as in enqueue.lua)
--            "fail", failed entry, its failed list, key under which the payload is kept or an empty text, payload
--            "claim", its text in the list of claimed items, number of guards, guards
--            "drop"
-- Returns  for each item: 1 done, 0 dropped because a guard forbids it, -1 it was gone, or the
--          error that kept it where it was
-- Read by  Ruby and Node: delayed:<second>, timestamps:<item>, queues, queue:<name>, failed
local fence = tonumber(ARGV[2])
-- include fence

local list, queues, claimed = KEYS[fence + 1], KEYS[fence + 2], KEYS[fence + 3]
local at = 3
local function word()
  at = at + 1
  return ARGV[at - 1]
end
local member = word()

-- include guards

-- A lock left behind would forbid the next attempt, and the item would be dropped.
local function guarded(guards, step)
  local taken = pass(guards)
  if not taken then return 0 end
  local fine, problem = pcall(step)
  if not fine then
    free(taken)
    error(problem, 0)
  end
  return 1
end

local act = {}

function act.push()
  local queue, key, payload = word(), word(), word()
  local guards = read_guards()
  return function()
    return guarded(guards, function()
      redis.call('SADD', queues, queue)
      redis.call('RPUSH', key, payload)
    end)
  end
end

function act.fail()
  local entry, failed, kept, payload = word(), word(), word(), word()
  return function()
    redis.call('RPUSH', failed, entry)
    if kept ~= '' then redis.call('SET', kept, payload) end
    return 1
  end
end

function act.claim()
  local text, guards = word(), read_guards()
  return function()
    return guarded(guards, function() redis.call('RPUSH', claimed, text) end)
  end
end

function act.drop()
  return function() return 1 end
end

local done = {}
for index = 1, tonumber(word()) do
  local item, set = word(), word()
  local what = act[word()]()
  if redis.call('LREM', list, 1, item) == 0 then
    done[index] = -1
  else
    -- Keep the index entry if an equal item remains; one too far back to be seen is not worth an entry for
    -- each item of a long list.
    local indexed = member ~= '' and not is_seen(list, item) and redis.pcall('SREM', set, member) == 1
    local fine, result = pcall(what)
    if not fine then
      redis.call('LPUSH', list, item)
      if indexed then redis.call('SADD', set, member) end
      result = type(result) == 'table' and result.err or tostring(result)
    end
    done[index] = result
  end
end
return done
