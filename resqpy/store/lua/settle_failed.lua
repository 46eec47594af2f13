-- Remove failed entries, or move the job of each back to the tail of its queue: entry and job
-- change in one step. An entry is known by its bytes; its index is a hint that saves a search.
--
-- KEYS 1   a list of failed entries     2  set of queue names
-- ARGV 1   number of entries; for each:
--            index (-1: unknown), the entry, key of the bytes kept aside for it (or an empty text),
--            queue name (empty: only remove), queue key, the job's bytes (not asked where bytes are
--            kept aside: those are the job), number of guards; for each guard three words:
--              "lock" key seconds, or "absent" key 0 (see enqueue.lua)
-- Returns  for each entry "removed", "retried", "vetoed" (it stays), "absent" (no such entry),
--          "lost" (the bytes kept aside are gone; it stays) or "no list" (its queue is none; it stays)
-- Read by  Ruby and Node: all of them
local at, done, marked = 2, {}, 0
local GONE = '\0resqpy: gone\0' -- stands in the list only inside this script

local function word()
  at = at + 1
  return ARGV[at - 1]
end

-- include guards

local function can_be(kind, key)
  local found = redis.call('TYPE', key).ok
  return found == kind or found == 'none'
end

local function take_out(index, entry)
  if index >= 0 and redis.call('LINDEX', KEYS[1], index) == entry then
    redis.call('LSET', KEYS[1], index, GONE)
    marked = marked + 1
    return true
  end
  -- the hint is wrong: without a mark the indices that follow would be wrong too
  local place = redis.call('LPOS', KEYS[1], entry)
  if not place then return false end
  redis.call('LSET', KEYS[1], place, GONE)
  marked = marked + 1
  return true
end

local function settle(index, entry, kept, queue, queue_key, job, guards)
  if queue == '' then
    if not take_out(index, entry) then return 'absent' end
  else
    if kept ~= '' then
      job = redis.call('GET', kept)
      if not job then return 'lost' end
    end
    if not can_be('list', queue_key) then return 'no list' end
    local locks = pass(guards)
    if not locks then return 'vetoed' end
    if not take_out(index, entry) then
      free(locks)
      return 'absent'
    end
    redis.call('SADD', KEYS[2], queue)
    redis.call('RPUSH', queue_key, job)
  end
  if kept ~= '' then redis.call('UNLINK', kept) end
  return queue == '' and 'removed' or 'retried'
end

if not can_be('set', KEYS[2]) then
  return redis.error_reply('WRONGTYPE ' .. KEYS[2] .. ' is no set')
end
for n = 1, tonumber(ARGV[1]) do
  local index, entry, kept = tonumber(word()), word(), word()
  local queue, queue_key, job = word(), word(), word()
  done[n] = settle(index, entry, kept, queue, queue_key, job, read_guards())
end
if marked > 0 then redis.call('LREM', KEYS[1], marked, GONE) end
return done
