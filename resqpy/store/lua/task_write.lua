-- Do commands, if the records they were decided upon are still as they were.
--
-- KEYS 1   the record of a tracked task
-- ARGV 1   number of commands; for each: number of words, words.
--          A command "REQUIRE hash field value" ends it all where the field has another value; an
--          empty value means that there must be no such field.
-- Returns  1 done, 0 something was otherwise and nothing was done after that
-- Read by  Ruby and Node, where a task's job is placed: queues, queue:*, delayed*, timestamps:*
local at = 2
for _ = 1, tonumber(ARGV[1]) do
  local words = tonumber(ARGV[at])
  local command = { unpack(ARGV, at + 1, at + words) }
  at = at + words + 1
  if command[1] == 'REQUIRE' then
    if (redis.call('HGET', command[2], command[3]) or '') ~= command[4] then return 0 end
  else
    redis.call(unpack(command))
  end
end
return 1
