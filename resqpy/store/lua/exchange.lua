-- Report the jobs that ended and take jobs for the free slots, in one step.
-- Safe to run twice: an end counts only if it removes its own record, and a slot that was thought
-- free but has a record gets that job back. No payload is decoded and encoded again.
--
-- KEYS 1   pause-all-workers        2  stat:processed         3  stat:failed
--      4   prefix of worker records 5  prefix of held bytes   6  prefix of stat:processed:<worker>
--      7   prefix of stat:failed:<worker>                     8… the queues, in order of priority
-- ARGV 1   run_at of what is taken (unlike any before, so that it names the run)
--      2   "1": the last reply was lost, look for records in the slots thought free
--      3   the most bytes of a job that are sent to the worker
--      4   payload that stands in a record for bytes that foreign readers could not bear
--      …   the name of each queue as JSON
--      …   number of ended; for each: worker id, the beginning of its record, "p", "f" or "-" (what
--          it counts as), number of commands; for each command: number of words, words. A command
--          "RELEASE key value" deletes a lock that still has that value, even if the end is void.
--      …   number of free slots; for each: worker id, the end of its record
-- Returns  paused (0/1), void ends {index…}, unwritten ends {index, error…},
--          taken {slot, queue, payload | false, bytes, sha1…}, found {slot, record, held bytes…},
--          broken queues {queue, error…}; indices from 1; queue counts from 1
-- Read by  Ruby and Node: worker:<id>, stat:*, failed, delayed:*, queue:*
local at = 5
local function word()
  at = at + 1
  return ARGV[at - 1]
end

local FIXED = 7
local run_at, most, stand_in = ARGV[1], tonumber(ARGV[3]), ARGV[4]
local record_of, held_of = KEYS[4], KEYS[5]
local queue_json = {}
for q = 1, #KEYS - FIXED do queue_json[q] = word() end

-- Whether a text is a job that Ruby and Node can read. It may say no to a good one (whose bytes
-- are then kept apart), never yes to a bad one: cjson alone takes NaN, hex and broken UTF-8.
local function presentable(text)
  if #text > 65536 or text:byte(1) ~= 123 or text:find('[%z\1-\31\127]')
    or text:find('\\u[dD]') or text:find('[eE]%+?%d%d%d') then
    return false
  end
  if text:find('[\128-\255]') then
    local rest = text:gsub('[\194-\223][\128-\191]', ' ')
      :gsub('\224[\160-\191][\128-\191]', ' '):gsub('[\225-\236\238\239][\128-\191][\128-\191]', ' ')
      :gsub('\237[\128-\159][\128-\191]', ' '):gsub('\240[\144-\191][\128-\191][\128-\191]', ' ')
      :gsub('[\241-\243][\128-\191][\128-\191][\128-\191]', ' ')
      :gsub('\244[\128-\143][\128-\191][\128-\191]', ' ')
    if rest:find('[\128-\255]') then return false end
  end
  local bones = text
  if bones:find('\\', 1, true) then bones = bones:gsub('\\.', '') end
  bones = bones:gsub('"[^"]*"', '"')
  if bones:find('[^%[%]{}:,"%d%.%-+eEtrufalsn ]') or bones:find('nan', 1, true)
    or bones:find('[%-:,%[ ]0%d') or bones:find('[:,%[ ]%+') or bones:find('%.%D')
    or bones:find('%D%.') or bones:find('%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d') then
    return false
  end
  local _, levels = bones:gsub('[%[{]', '')
  if levels > 90 then return false end
  local fine, job = pcall(cjson.decode, text)
  return fine and type(job) == 'table' and type(job['class']) == 'string'
end

-- Report -----------------------------------------------------------------------------------------
local void, unwritten, stuck = {}, {}, {}
local processed, failed = 0, 0

local function release(key, value)
  if redis.call('GET', key) == value then redis.call('DEL', key) end
end

local function write_all(commands)
  for _, command in ipairs(commands) do
    local reply = redis.pcall(unpack(command))
    if type(reply) == 'table' and reply.err then return reply.err end
  end
end

for index = 1, tonumber(word()) do
  local id, beginning, counts, commands = word(), word(), word(), {}
  for _ = 1, tonumber(word()) do
    local command = {}
    for w = 1, tonumber(word()) do command[w] = word() end
    if command[1] == 'RELEASE' then
      release(command[2], command[3])
    else
      commands[#commands + 1] = command
    end
  end
  local record = record_of .. id
  if redis.call('GETRANGE', record, 0, #beginning - 1) ~= beginning then
    void[#void + 1] = index
  else
    -- a write command first: after one, Redis does not refuse the others for want of memory
    if #commands > 0 then redis.call('DEL', record .. ':') end
    local problem = write_all(commands)
    if problem then
      unwritten[#unwritten + 1] = index
      unwritten[#unwritten + 1] = problem
      stuck[id] = true
    else
      redis.call('DEL', record)
      if counts == 'p' then
        processed = processed + 1
        redis.call('INCR', KEYS[6] .. id)
      elseif counts == 'f' then
        failed = failed + 1
        redis.call('INCR', KEYS[7] .. id)
      end
    end
  end
end
if processed > 0 then redis.call('INCRBY', KEYS[2], processed) end
if failed > 0 then redis.call('INCRBY', KEYS[3], failed) end

-- Take -------------------------------------------------------------------------------------------
local free = {}
for index = 1, tonumber(word()) do
  local id, ending = word(), word()
  if not stuck[id] then free[#free + 1] = { index, id, ending } end
end

local found = {}
local function find(slot)
  local record = redis.call('GET', record_of .. slot[2])
  if not record then return false end
  found[#found + 1] = slot[1]
  found[#found + 1] = record
  found[#found + 1] = redis.call('GET', held_of .. slot[2])
  return true
end

if ARGV[2] == '1' then
  local really = {}
  for _, slot in ipairs(free) do
    if not find(slot) then really[#really + 1] = slot end
  end
  free = really
end

local paused = redis.call('GET', KEYS[1])
paused = paused and paused:lower():match('^%s*true%s*$') and 1 or 0

local taken, broken, next_free = {}, {}, 1

local function place(q, payload)
  local fit = presentable(payload)
  while next_free <= #free do
    local slot = free[next_free]
    next_free = next_free + 1
    local record = '{"queue":' .. queue_json[q] .. ',"run_at":"' .. run_at .. '","payload":'
      .. (fit and payload or stand_in) .. slot[3]
    if redis.call('SET', record_of .. slot[2], record, 'NX') then
      if not fit then redis.call('SET', held_of .. slot[2], payload) end
      local large = #payload > most
      local n = #taken
      taken[n + 1], taken[n + 2] = slot[1], q
      taken[n + 3] = (not large) and payload or false
      taken[n + 4] = fit and 0 or #payload
      taken[n + 5] = large and redis.sha1hex(payload) or ''
      return true
    end
    find(slot)
  end
  return false
end

if paused == 0 then
  for q = 1, #KEYS - FIXED do
    if next_free > #free then break end
    local key = KEYS[FIXED + q]
    local payloads = redis.pcall('LPOP', key, #free - next_free + 1)
    if type(payloads) == 'table' and payloads.err then
      if not payloads.err:find('WRONGTYPE', 1, true) then return payloads end
      broken[#broken + 1] = q
      broken[#broken + 1] = payloads.err
    elseif payloads then
      for p = 1, #payloads do
        if not place(q, payloads[p]) then
          for back = #payloads, p, -1 do redis.call('LPUSH', key, payloads[back]) end
          break
        end
      end
    end
  end
end

return { paused, void, unwritten, taken, found, broken }
