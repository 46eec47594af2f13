-- Ids of tracked tasks, in order, from a position on, that are in several sorted sets: those of a type, with a
-- status, with a tag, … Records are not read here.
--
-- KEYS     the sorted sets: of the first section those of the order, any of which may be read, and
--          then those of other orders, and those in one of which an id must stand; then of the second
--          section, …
-- ARGV 1   "asc" or "desc"    2  maximum rows     3  number of sections; for each:
--          number of its sets of the order, of its other sets, of those it must be in one of, score and id of
--          the row before the
--          first wanted ("" and "")
-- Returns  the rows: for each number of its section, id, score; and if it stopped after many
--          ids that don't match: such a row to continue after, else nothing
-- Read by  resqpy only
local MOST_IDS = 2000 -- examined in one call
local FEW = 1000 -- few enough ids of another order to be sorted here
local ascending, most, sections = ARGV[1] == 'asc', tonumber(ARGV[2]), tonumber(ARGV[3])
local rows, left = {}, MOST_IDS

local function smallest(sets)
  local best, size
  for _, key in ipairs(sets) do
    local count = redis.call('ZCARD', key)
    if not size or count < size then best, size = key, count end
  end
  return best, size
end

local function less(a, b) -- by bytes as in sorted sets: `<` uses the server's locale
  for i = 1, math.min(#a, #b) do
    local x, y = a:byte(i), b:byte(i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

local function comes_before(id, score, other_id, other_score)
  if score ~= other_score then return (score < other_score) == ascending end
  return id ~= other_id and less(id, other_id) == ascending
end

local function in_all(id, sets, but, but_also)
  for _, key in ipairs(sets) do
    if key ~= but and key ~= but_also and not redis.call('ZSCORE', key, id) then return false end
  end
  return true
end

local function in_one(id, sets)
  for _, key in ipairs(sets) do
    if redis.call('ZSCORE', key, id) then return true end
  end
  return #sets == 0
end

local function slice(key, score, offset, count)
  if ascending then
    return redis.call('ZRANGEBYSCORE', key, score == '' and '-inf' or score, '+inf', 'WITHSCORES',
      'LIMIT', offset, count)
  end
  return redis.call('ZREVRANGEBYSCORE', key, score == '' and '+inf' or score, '-inf', 'WITHSCORES',
    'LIMIT', offset, count)
end

-- in the order of a set, from a position on; if it stops early, the last row that was examined
local function walk(section, key, sets, one_of, score, after)
  local offset, checked = 0, #sets > 1 or #one_of > 0
  while #rows < most do
    local count = checked and 200 or most - #rows + 8
    local found = slice(key, score, offset, count)
    for f = 1, #found, 2 do
      local id, at = found[f], found[f + 1]
      if score == '' or comes_before(after, tonumber(score), id, tonumber(at)) then
        if #rows == most then return end
        if in_all(id, sets, key) and in_one(id, one_of) then rows[#rows + 1] = { section, id, at } end
        left = left - 1
        if checked and left <= 0 then return { section, id, at } end
      end
    end
    if #found < 2 * count then return end
    offset = offset + count
  end
end

-- all of a small set of another order, sorted here
local function sort(section, small, order, sets, one_of, score, after)
  local found = {}
  for _, id in ipairs(redis.call('ZRANGE', small, 0, -1)) do
    local at = redis.call('ZSCORE', order, id)
    local wanted = at and (score == '' or comes_before(after, tonumber(score), id, tonumber(at)))
    if wanted and in_all(id, sets, small, order) and in_one(id, one_of) then found[#found + 1] = { section, id, at } end
  end
  table.sort(found, function(a, b)
    return comes_before(a[2], tonumber(a[3]), b[2], tonumber(b[3]))
  end)
  for f = 1, math.min(#found, most - #rows) do rows[#rows + 1] = found[f] end
end

local first_key, given_up = 1, nil
for section = 1, sections do
  local at = 5 * section - 1
  local of_order, others, one_of = {}, {}, {}
  for k = first_key, first_key + ARGV[at] - 1 do of_order[#of_order + 1] = KEYS[k] end
  first_key = first_key + ARGV[at]
  for k = first_key, first_key + ARGV[at + 1] - 1 do others[#others + 1] = KEYS[k] end
  first_key = first_key + ARGV[at + 1]
  for k = first_key, first_key + ARGV[at + 2] - 1 do one_of[#one_of + 1] = KEYS[k] end
  first_key = first_key + ARGV[at + 2]
  local key, size = smallest(of_order)
  local small, few = smallest(others)
  for _, other in ipairs(others) do of_order[#of_order + 1] = other end
  -- a walk examines size / few ids per row
  if small and few <= FEW and few * few < size * most then
    sort(section, small, key, of_order, one_of, ARGV[at + 3], ARGV[at + 4])
  else
    given_up = walk(section, key, of_order, one_of, ARGV[at + 3], ARGV[at + 4])
  end
  if given_up or #rows >= most then break end
end
return given_up and { rows, given_up } or { rows }
