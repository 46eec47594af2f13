-- Shared by other scripts (`-- include periodic_again`): the run of a periodic task's job has ended, so the
-- chain continues on the grid of its times, by Redis' clock. Not if the job is not the chain's own (it was
-- enqueued or retried by hand), or if the chain was stopped.
--
-- KEYS     none
-- ARGV     none
-- Returns  (the function) nothing; its argument is {"AGAIN", periodic:due, periodic:out,
--          periodic:stopped, task name, the time for which the job was enqueued, the frequency
--          in ms or empty: the chain ends with this failure}
local function again(command)
  local due, out, stopped, name, at, step =
    command[2], command[3], command[4], command[5], command[6], tonumber(command[7])
  if redis.pcall('HGET', out, name) ~= at then return end
  if not step then
    redis.pcall('HSET', stopped, name, 'failed')
    redis.call('HDEL', out, name)
    return
  end
  local time = redis.call('TIME')
  local now, next_ms = time[1] * 1000 + math.floor(time[2] / 1000), tonumber(at)
  if now < next_ms then
    next_ms = now + step
  else
    next_ms = next_ms + (math.floor((now - next_ms) / step) + 1) * step
  end
  local noted = redis.pcall('ZADD', due, string.format('%.0f', next_ms), name)
  -- if that is refused the chain stays in `out`, from which periodic_mend.lua restarts it
  if type(noted) == 'number' then redis.call('HDEL', out, name) end
end
