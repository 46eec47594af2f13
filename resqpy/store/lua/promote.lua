-- Move due items to their queues: each enters its queue in the step in which it leaves its delayed list. Stops
-- at an item that must be inspected (its task has hooks or locks, it can't be read, it names no queue) and
-- returns the head of that list instead.
--
-- KEYS 1-3 the fence: resqpy's lease, Ruby's lock, Node's lock
--      4   delayed_queue_schedule       5  set of queue names       6  prefix of delayed lists
--      7   prefix of timestamps: sets   8  prefix of queues
-- ARGV 1   the leader's token           2  maximum items            3  maximum bytes
--      4   maximum items returned       5  "1": return the items moved
--      6   names of queues with Ruby's bytes, a pattern of Lua's a line: their jobs lose the name of the queue
--          behind all, as `when_due` of codec.py has it
--      7…  names of the tasks whose jobs must be inspected
-- Returns  Redis' time (seconds, microseconds), score of the next item or false,
--          seconds worked on {second, items moved…}, items moved {second, item…} if requested,
--          malformed members {second, what was done about it…},
--          a second and the items to inspect {second, item…}
-- Read by  Ruby and Node: all of them
local fence = 3
-- include fence

-- include presentable

local schedule, queues, lists, sets, queue_prefix = KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local most, bytes, page_size, tell = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local most_bytes = bytes -- the first item may exceed it
local looked_at = {}
for a = 7, #ARGV do looked_at[ARGV[a]] = true end

local time = redis.call('TIME')
local now = tonumber(time[1])
local worked, told, oddities, page, known = {}, {}, {}, {}, {}

local function failed(reply) return type(reply) == 'table' and reply.err end

local function odd(member, what)
  oddities[#oddities + 1] = member
  oddities[#oddities + 1] = what
end

-- The queue of an item that can be moved unchanged.
local function queue_of(item)
  local job = presentable(item)
  if not job or looked_at[job['class']] then return nil end
  local queue = job['queue']
  return type(queue) == 'string' and queue ~= '' and queue or nil
end

local function when_due(queue, item)
  for pattern in ARGV[6]:gmatch('[^\n]+') do
    local last = ',"queue":"' .. queue .. '"}'
    if queue:match(pattern) and item:sub(1, 10) == '{"class":"' and item:sub(-#last) == last then
      return item:sub(1, -#last - 1) .. '}'
    end
  end
  return item
end

local function push(queue, item)
  if not known[queue] then
    if failed(redis.pcall('SADD', queues, queue)) then return false end
    known[queue] = true
  end
  return not failed(redis.pcall('RPUSH', queue_prefix .. queue, when_due(queue, item)))
end

local function read_page(member)
  local size = 0
  page[1] = member
  for index = 0, page_size - 1 do
    local item = redis.call('LINDEX', lists .. member, index)
    if not item then return end
    page[#page + 1] = item
    size = size + #item
    if size > bytes then return end
  end
end

-- Move items of one second; returns how many, and whether the list is empty now.
local function move(member)
  local count = 0
  while most > 0 and bytes > 0 do
    local item = redis.pcall('LPOP', lists .. member)
    if not item then return count, true end
    if failed(item) then
      odd(member, 'what stands there is no list; the second is forgotten')
      return count, true
    end
    local room = #item <= bytes or bytes == most_bytes
    local queue = room and queue_of(item)
    if not queue or not push(queue, item) then
      redis.call('LPUSH', lists .. member, item)
      if room then read_page(member) else bytes = 0 end
      return count, false
    end
    redis.pcall('SREM', sets .. item, 'delayed:' .. member)
    count, most, bytes = count + 1, most - 1, bytes - #item
    if tell == '1' then
      told[#told + 1] = member
      told[#told + 1] = item
    end
  end
  return count, false
end

-- A careless writer put a fraction into the index and the list under the whole second.
local function find_list_beside(member)
  local number = tonumber(member)
  if not number or number ~= number or number < 0 or number > 2 ^ 53 then return end
  local whole = string.format('%.0f', math.floor(number))
  if whole ~= member and redis.call('TYPE', lists .. whole).ok == 'list' then
    redis.call('ZADD', schedule, 'NX', whole, whole)
  end
end

local function forget(member, count)
  redis.call('ZREM', schedule, member)
  if not member:match('^%d+$') then
    odd(member, 'it is no second of the epoch; ' .. count .. ' items moved')
    find_list_beside(member)
  end
end

while most > 0 and bytes > 0 and #page == 0 do
  local member = redis.call('ZRANGEBYSCORE', schedule, '-inf', now, 'LIMIT', 0, 1)[1]
  if not member then break end
  -- longer digits are not a second, and may not fit a score
  if #member < 16 and member:match('^%d+$') and tonumber(member) > now then
    redis.call('ZADD', schedule, member, member)
    odd(member, 'its score was another second; corrected')
  else
    local count, empty = move(member)
    worked[#worked + 1] = member
    worked[#worked + 1] = count
    if empty then forget(member, count) end
  end
end

local next_score = redis.call('ZRANGE', schedule, 0, 0, 'WITHSCORES')[2]
return { time[1], time[2], next_score or false, worked, told, oddities, page }
