-- Remove failed entries, or move the job of each back to the tail of its queue: entry and job
-- change in one step. An entry is known by its bytes; its index is a hint that saves a search.
--
-- KEYS 1   a list of failed entries     2  set of queue names
-- ARGV 1   now, seconds since the epoch
--      2   number of entries; for each:
--            index (-1: unknown), the entry, key of the bytes kept aside for it (or an empty text),
--            queue name (empty: only remove), queue key, the job's bytes (not asked where bytes are
--            kept aside: those are the job), number of guards; for each guard three words:
--              "lock" key seconds, or "absent" key 0 (see enqueue.lua)
-- Returns  for each entry "removed", "retried", "vetoed" (it stays), "absent" (no such entry) or
--          "lost" (the bytes kept aside are gone; it stays)
-- Read by  Ruby and Node: all of them
local now, at, done, marked = tonumber(ARGV[1]), 3, {}, 0
local GONE = '\0resqpy: gone\0' -- stands in the list only inside this script

local function words(count)
  at = at + count
  return unpack(ARGV, at - count, at - 1)
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

local function is_held(guards)
  for _, guard in ipairs(guards) do
    if redis.call('EXISTS', guard[2]) == 1 then
      if guard[1] ~= 'lock' then return true end
      local value = redis.call('GET', guard[2]) or ''
      if (tonumber(value:match('^%s*%d+')) or 0) >= now then return true end
    end
  end
  return false
end

local function take_locks(guards)
  for _, guard in ipairs(guards) do
    if guard[1] == 'lock' then
      local seconds = tonumber(guard[3])
      redis.call('SET', guard[2], string.format('%.0f', now + seconds + 1), 'EX', seconds)
    end
  end
end

local function settle(index, entry, kept, queue, queue_key, job, guards)
  if queue == '' then
    if not take_out(index, entry) then return 'absent' end
  else
    if kept ~= '' then
      job = redis.call('GET', kept)
      if not job then return 'lost' end
    end
    if is_held(guards) then return 'vetoed' end
    if not take_out(index, entry) then return 'absent' end
    take_locks(guards)
    redis.call('SADD', KEYS[2], queue)
    redis.call('RPUSH', queue_key, job)
  end
  if kept ~= '' then redis.call('UNLINK', kept) end
  return queue == '' and 'removed' or 'retried'
end

for n = 1, tonumber(ARGV[2]) do
  local index, entry, kept, queue, queue_key, job, count = words(7)
  local guards = {}
  for g = 1, tonumber(count) do guards[g] = { words(3) } end
  done[n] = settle(tonumber(index), entry, kept, queue, queue_key, job, guards)
end
if marked > 0 then redis.call('LREM', KEYS[1], marked, GONE) end
return done
