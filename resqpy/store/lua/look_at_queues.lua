-- How long queues are, and how many jobs have come since the last look at each: a job near the tail is kept
-- as a mark, and whatever stands behind it at the next look is new, whoever pushed and took meanwhile.
--
-- KEYS 1   the lease (the fence)   2  the marks   3  the ages   4  the set of queues
-- ARGV 1   the token               2  the time (ms)   3  how long marks and ages are kept (ms)
--      4   most queues of a look   5  prefix of queue keys   6  most of them that have changed
--      7   where to begin (from 0)   8…  the queues; none: all that there are
-- Returns  the time of the last look ('': none is known), number of queues, number of those looked at (0 where
--          there are more than the most), where to go on (0: it is complete), then for each queue that is not as it was: name, its length, its
--          length at the last look ('': not known), how many jobs have come (or ALL, FAR, UNKNOWN or NEW),
--          whether its first job is certainly still the first (0/1), whether the new mark is weak (0/1): one like it was
--          there before, so the next look can't tell
local fence = 1
-- include fence

local ALL = 'all' -- the mark has gone, with all that stood before it
local FAR = 'far' -- there are too many behind it to look for it
local UNKNOWN = 'unknown' -- no job near the tail could be told from the others
local NEW = 'new' -- there is no mark
local WINDOW, BYTES, MOST_MARK, DEPTH, TRIES, PAST = 32, 262144, 65536, 20000, 5, 32
local NONE = '-'

-- A digest of a job; of a large one, of both its ends.
local function short(text)
  if #text > 2048 then text = text:sub(1, 1024) .. text:sub(-1024) .. #text end
  return redis.sha1hex(text):sub(1, 12)
end

local function at(key, index) return redis.call('LINDEX', key, index) or '' end

-- The two jobs before a place tell a mark from its likes. One that has been taken tells nothing.
local function before(key, index)
  local found = {}
  for n = 1, 2 do
    found[n] = index - n >= 0 and short(at(key, index - n)) or NONE
  end
  return found
end

local function place_of(key, mark, len)
  for try = 1, TRIES do
    local found = redis.call('LPOS', key, mark.text, 'RANK', -try, 'MAXLEN', DEPTH)
    if not found then return try == 1 and len > DEPTH and FAR or ALL end
    local same = true
    for n, each in ipairs(before(key, found)) do
      if each ~= NONE and mark.before[n] ~= NONE and each ~= mark.before[n] then same = false end
    end
    if same then return found end
  end
  return UNKNOWN
end

local function parsed(text)
  local head = text and { text:match('^(%d+) (%d+) (%S+) (%S+) (%S+) (%d) (%S+) ') } or {}
  if #head < 7 then return nil end
  return { len = tonumber(head[1]), from_tail = tonumber(head[2]), head = head[3],
    before = { head[4], head[5] }, weak = head[6] == '1', past = head[7],
    text = text:sub(#table.concat(head, ' ') + 2) }
end

-- What has been in the queue and has gone, or was there twice: shortened, the newest first.
local function past(mark, more)
  local all = table.concat(more, ',') .. (mark and mark.past ~= NONE and ',' .. mark.past or '')
  all = all:gsub('^,', ''):sub(1, PAST * 13 - 1)
  return all == '' and NONE or all
end

local function keep(name, len, from_tail, head, near, weak, gone, text)
  redis.call('HSET', KEYS[2], name, table.concat({ string.format('%d %d', len, from_tail), head, near[1],
    near[2], weak and 1 or 0, gone, text }, ' '))
end

-- Of the jobs near the tail the last that is unlike the others there and those of the past, else unlike the
-- others there: its place from the tail, its text ('': there is none), and what is there twice.
local function choose(key, len, gone)
  local texts, times, bytes, twice, second = {}, {}, 0, {}, nil
  for n = 1, math.min(WINDOW, len) do
    local text = at(key, -n)
    texts[n], times[text], bytes = text, (times[text] or 0) + 1, bytes + #text
    if times[text] == 2 then twice[#twice + 1] = short(text) end
    if bytes > BYTES then break end
  end
  for n, text in ipairs(texts) do
    if times[text] == 1 and #text <= MOST_MARK then
      if not gone:find(short(text), 1, true) then return n - 1, text, false, twice end
      second = second or n
    end
  end
  if second then return second - 1, texts[second], true, twice end
  return 0, '', true, twice
end

local function look(name, noted)
  local key, mark = ARGV[5] .. name, parsed(noted)
  local len = redis.pcall('LLEN', key)
  if type(len) ~= 'number' then len = 0 end
  local gone = {}
  if len == 0 then
    if not mark or mark.len == 0 then return nil end
    if mark.text ~= '' then gone[1] = short(mark.text) end
    keep(name, 0, 0, NONE, { NONE, NONE }, false, past(mark, gone), '')
    return { name, 0, mark.len, ALL, 0, 0 }
  end
  local came = mark and mark.len > 0 and UNKNOWN or NEW
  if mark and mark.text ~= '' then
    local place = place_of(key, mark, len)
    came = type(place) == 'number' and len - 1 - place - mark.from_tail or place
    if came == 0 and len == mark.len then return nil end
    if came == ALL then gone[1] = short(mark.text) end
    if mark.weak then came = UNKNOWN end
  end
  local head, seen = short(at(key, 0)), past(mark, gone)
  local same = mark and mark.head == head
  if came == UNKNOWN and same and len == mark.len and mark.text == '' then return nil end
  same = same and not seen:find(head, 1, true)
  local from_tail, text, weak, twice = choose(key, len, seen)
  for _, each in ipairs(twice) do
    if not seen:find(each, 1, true) then gone[#gone + 1] = each end
  end
  local near = text ~= '' and before(key, len - 1 - from_tail) or { NONE, NONE }
  keep(name, len, from_tail, head, near, weak, past(mark, gone), text)
  return { name, len, mark and mark.len or '', came, same and 1 or 0, weak and 1 or 0 }
end

local count, names, noted = redis.call('SCARD', KEYS[4]), {}, {}
local last = redis.call('HGET', KEYS[3], '') or ''
if #ARGV > 7 then
  for n = 8, #ARGV do names[n - 7] = ARGV[n] end
  local found = redis.call('HMGET', KEYS[2], unpack(names))
  for n, name in ipairs(names) do noted[name] = found[n] end
elseif count <= tonumber(ARGV[4]) then
  names = redis.call('SMEMBERS', KEYS[4])
  local fields, listed = redis.call('HGETALL', KEYS[2]), {}
  for _, name in ipairs(names) do listed[name] = true end
  for n = 1, #fields, 2 do
    noted[fields[n]] = fields[n + 1]
    if not listed[fields[n]] then names[#names + 1] = fields[n] end
  end
else
  return { last, count, 0, 0 }
end
local reply, changed, place = { last, count, #names, 0 }, 0, tonumber(ARGV[7])
table.sort(names)
while place < #names and changed < tonumber(ARGV[6]) do
  place = place + 1
  local name = names[place]
  local seen = name ~= '' and look(name, noted[name]) or nil
  if seen then
    changed = changed + 1
    for _, each in ipairs(seen) do reply[#reply + 1] = each end
  end
end
if place < #names then
  reply[4] = place
else
  redis.call('HSET', KEYS[3], '', ARGV[2])
end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
redis.call('PEXPIRE', KEYS[3], ARGV[3])
return reply
