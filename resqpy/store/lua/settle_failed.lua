-- Remove failed entries, or move the job of each back to the tail of its queue: entry and job change in one
-- step. An entry is identified by its bytes; its index is a hint that saves a search.
--
-- KEYS 1   a list of failed entries     2  set of queue names
-- ARGV 1   list in which removed entries are kept (empty: they are not); what is kept separately stays as long
--      2   how many seconds
--      3   number of words of a command, which is done once, before the first entry leaves; the words
--      …   hash: the bulk run that counts what leaves (empty: none; see change_bulk.lua), and who works on it
--      …   number of entries; for each:
--            index (-1: unknown), the entry, key of the bytes kept separately (or an empty text),
--            queue name (empty: only remove), queue key, the job's bytes (ignored if bytes are
--            kept separately: those are the job), number of guards; for each guard:
--              "lock" key seconds, or "absent" key 0 (see enqueue.lua)
-- Returns  "over": the run has ended, or somebody else works on it; nothing was done. Else
--          for each entry "removed", "retried", "vetoed" (it stays), "absent" (no such entry),
--          "lost" (the bytes kept separately are gone; it stays) or "no list" (its queue is not a list; it
--          stays); or the error of the first that Redis refused: it stays, and those before it are done
-- Read by  Ruby and Node: all of them
local at, done, marked = 1, {}, 0
local GONE = '\0resqpy: gone\0' -- only present inside this script

local function word()
  at = at + 1
  return ARGV[at - 1]
end

-- include guards

-- include can_be

local function place_of(index, entry)
  if index >= 0 and redis.call('LINDEX', KEYS[1], index) == entry then return index end
  return redis.call('LPOS', KEYS[1], entry)
end

local keep, keep_s, also = word(), word(), {}
for n = 1, tonumber(word()) do also[n] = word() end
local run, runner = word(), word()
if run ~= '' then
  local state = redis.call('HMGET', run, 'state', 'runner')
  if state[1] ~= 'running' or state[2] ~= runner then return 'over' end
end

-- None leaves without it: where Redis refuses it, nothing is done.
local function do_also()
  if #also > 0 then redis.call(unpack(also)) end
  also = {}
end

local function put_by(entry, kept)
  redis.call('RPUSH', keep, entry)
  redis.call('EXPIRE', keep, keep_s)
  if kept ~= '' then redis.call('EXPIRE', kept, keep_s + 3600) end -- not before the entry
end

-- without a mark the following indices would be wrong
local function take_out(place)
  redis.call('LSET', KEYS[1], place, GONE)
  marked = marked + 1
end

local function push(queue, key, job)
  do_also()
  redis.call('SADD', KEYS[2], queue)
  redis.call('RPUSH', key, job)
end

local function settle(index, entry, kept, queue, queue_key, job, guards)
  local place = place_of(index, entry)
  if queue ~= '' then
    if kept ~= '' then
      job = redis.pcall('GET', kept)
      if type(job) ~= 'string' then return 'lost' end
    end
    if not can_be('list', queue_key) then return 'no list' end
    if not place then return 'absent' end
    local locks = pass(guards)
    if not locks then return 'vetoed' end
    local fine, problem = pcall(push, queue, queue_key, job)
    if not fine then
      free(locks)
      error(problem, 0)
    end
  end
  if not place then return 'absent' end
  do_also()
  local stays = queue == '' and keep ~= ''
  if stays then put_by(entry, kept) end
  take_out(place)
  if kept ~= '' and not stays then redis.call('UNLINK', kept) end
  return queue == '' and 'removed' or 'retried'
end

if not can_be('set', KEYS[2]) then
  return redis.error_reply('WRONGTYPE ' .. KEYS[2] .. ' is no set')
end
-- include spare_memory
local problem
for n = 1, tonumber(word()) do
  local index, entry, kept = tonumber(word()), word(), word()
  local queue, queue_key, job = word(), word(), word()
  local fine, word_of = pcall(settle, index, entry, kept, queue, queue_key, job, read_guards())
  if not fine then
    problem = type(word_of) == 'table' and word_of.err or word_of
    break
  end
  done[n] = word_of
end
if marked > 0 then
  redis.call('LREM', KEYS[1], marked, GONE)
  if run ~= '' then redis.call('HINCRBY', run, 'done', marked) end
end
return problem and redis.error_reply(problem) or done
