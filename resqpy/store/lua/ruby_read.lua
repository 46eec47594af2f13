-- Ruby's schedules, as the one dynamic master reads them: the names of changed ones are taken away.
--
-- KEYS 1-3 the fence: resqpy's lease, Ruby's lock, Node's lock
--      4   persistent_schedules        5  schedules_changed     6  delayed:last_enqueued_at
--      7   resqpy's ruby:next          8  resqpy's ruby:paused
-- ARGV 1   the leader's token
-- Returns  Redis' time (seconds, microseconds), schedules {name, entry…}, last times {name, text…},
--          when they fire next {name, note…}, names of the paused ones
-- Read by  Ruby: persistent_schedules, schedules_changed, delayed:last_enqueued_at
local fence = 3
-- include fence
if redis.call('EXISTS', KEYS[5]) == 1 then redis.call('DEL', KEYS[5]) end
local notes = redis.call('HGETALL', KEYS[7])
for n = 1, #notes, 2 do
  if redis.call('HEXISTS', KEYS[4], notes[n]) == 0 then redis.call('HDEL', KEYS[7], notes[n]) end
end
local time = redis.call('TIME')
return { time[1], time[2], redis.call('HGETALL', KEYS[4]), redis.call('HGETALL', KEYS[6]), notes,
  redis.call('SMEMBERS', KEYS[8]) }
