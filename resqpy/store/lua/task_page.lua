-- Records of tracked tasks in an order, from a place on. What is wanted may stand in several sorted
-- sets of the same order (all tasks, those of a type, …): the smallest is read.
--
-- KEYS     the sorted sets: of the first section all that would do, then of the second, …
-- ARGV 1   "asc" or "desc"    2  the most rows    3  number of sections; for each:
--          number of its sorted sets, score and id of the row before the first wanted ("" and "")
-- Returns  for each row: number of its section, id, score
-- Read by  resqpy only
local ascending, most = ARGV[1] == 'asc', tonumber(ARGV[2])
local rows, first_key = {}, 1

local function smallest(from, to)
  local best, size
  for k = from, to do
    local count = redis.call('ZCARD', KEYS[k])
    if not size or count < size then best, size = KEYS[k], count end
  end
  return best
end

local function slice(key, score, offset, count)
  if ascending then
    return redis.call('ZRANGEBYSCORE', key, score == '' and '-inf' or score, '+inf', 'WITHSCORES',
      'LIMIT', offset, count)
  end
  return redis.call('ZREVRANGEBYSCORE', key, score == '' and '+inf' or score, '-inf', 'WITHSCORES',
    'LIMIT', offset, count)
end

local function passed(id, score, after_score, after_id)
  if after_score == '' or tonumber(score) ~= tonumber(after_score) then return false end
  if ascending then return id <= after_id end
  return id >= after_id
end

for section = 1, tonumber(ARGV[3]) do
  local sets, score, after = tonumber(ARGV[3 * section + 1]), ARGV[3 * section + 2], ARGV[3 * section + 3]
  local key, offset = smallest(first_key, first_key + sets - 1), 0
  first_key = first_key + sets
  while #rows < most do
    local count = most - #rows + 8
    local found = slice(key, score, offset, count)
    for f = 1, #found, 2 do
      if #rows < most and not passed(found[f], found[f + 1], score, after) then
        rows[#rows + 1] = { section, found[f], found[f + 1] }
      end
    end
    if #found < 2 * count then break end
    offset = offset + count
  end
end
return rows
