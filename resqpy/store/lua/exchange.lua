-- Report the jobs that ended and claim jobs for the free slots, in one step:
--
--   Report  each end whose run is still in its worker's record: its commands; then delete the record
--   Fence   an exchange with an old epoch, or of a process that was presumed dead, only reports
--   Find    after a lost reply: a slot presumed free that has a record gets that job back
--   Take    a job for each free slot, in the queues' order: it moves from its queue to the record. It
--           directly replaces the record of a run that succeeded and writes nothing at its end
--
-- Safe to run twice, and late: an end counts only if it removes its own record, nothing is taken for a
-- slot that has one, nor behind the fence. Why that is enough: docs/why/exchange.md.
-- No payload is decoded and encoded again. Nothing that others may have put in our
-- way (a key of another type, say) stops it half-way.
--
-- KEYS 1   pause-all-workers        2  stat:processed         3  stat:failed
--      4   prefix of worker records 5  prefix of held bytes   6  prefix of stat:processed:<worker>
--      7   prefix of stat:failed:<worker>                     8  resqpy's rescues
--      9   resqpy's gates: the epoch of each process; no field: it claims nothing
--      10  prefix of the keys that pause a queue              11 resqpy's limits of running jobs
--      12  prefix of what is noted of them                    13 where jobs are parked that met one
--      14… those that lifecycle.lua needs
--      …   the queues, in order of priority
-- ARGV 1   run_at of claimed jobs (unique, so that it identifies the run)
--      2   "1": the last reply was lost, look for records of the slots presumed free
--      3   maximum bytes of a job sent to the worker
--      4   placeholder in a record for bytes that would break foreign readers
--      5   incarnation of the process; empty: there is no fence     6  epoch of the exchange
--      7   number of keys that lifecycle.lua needs; 0: nothing is claimed along with a job
--      8   the argument for lifecycle.lua
--      9…12  what stands before and after the word of a slot: in its worker id, and in the end of its record
--      13  prefix of queues    14  the channel on which workers are told to look for work
--      15  what locks are freed and held with a job, a line for each class: its name, a tab, "q" for QueueLock, the
--          seconds of JobLock      16  prefix of locks         17  prefix of resqpy's job_locks
--      …   the name of each queue as JSON
--      …   number of ended; for each: worker id, the beginning of its record, "p", "f" or "-" (what
--          it counts as), number of commands; for each: number of arguments, arguments
--          (see exchange_ends.lua)
--      …   number of groups of slots; for each: the beginning of the records of their successful runs
--          (empty: the slots are free), number of slots, their words
--      …   number of successful runs that free something; for each: slot, number of keys that are deleted, 0: its
--          JobLock is freed; keys
-- Returns  paused (0/1), void ends {index…}, void ends of successful runs {slot…},
--          unwritten ends {index, error…}, with those of successful runs after the others,
--          taken {payload…}; their slots: {first slot, queue, number of consecutive slots, locks…};
--          taken with more details: {slot, queue, payload | false, bytes held or -1, sha1,
--            rescues or '', false | what lifecycle.lua took along…, locks},
--          found {slot, record, held bytes | false, bytes held or -1, sha1, rescues or '',
--            false | as above, locks…},
--          broken queues {queue, error…},
--          more may be waiting (0/1); indices from 1; queue counts from 1; locks: see exchange_locks.lua,
--          how many of the queues, from the first, have nothing left to claim,
--          fenced: 0 no, 1 the process has no gate, 2 the gate is ahead, 3 it could not be moved;
--          the epoch of the gate; milliseconds after which parked jobs may run, -1: none that wait for their time;
--          shadows: see exchange_moves.lua;
--          ARGV 1, so that no reply is taken for that of another exchange
-- Read by  Ruby and Node: worker:<id>, stat:*, failed, delayed:*, queue:*
local at = 18
local function word()
  at = at + 1
  return ARGV[at - 1]
end

local FIXED = 13 + tonumber(ARGV[7])
local run_at, most, stand_in = ARGV[1], tonumber(ARGV[3]), ARGV[4]
local record_of, held_of = KEYS[4], KEYS[5]
local id_before, id_after, end_before, end_after = unpack(ARGV, 9, 12)
local queue_json = {}
for q = 1, #KEYS - FIXED do queue_json[q] = word() end

local function get(key)
  local value = redis.pcall('GET', key)
  return type(value) == 'string' and value or false
end

-- What was raised, as a text.
local function words_of(problem)
  return type(problem) == 'table' and problem.err or problem
end

-- include presentable
-- include lifecycle
-- include due
-- include limit_free
-- include exchange_keys
-- include exchange_rules
-- include migration
-- include exchange_moves
-- include exchange_locks
-- include exchange_ends
-- include exchange_fence
-- include exchange_find
-- include exchange_take

return { paused, void, void_slots, unwritten, jobs, rows, special, found, broken, more, looked, fenced, gate,
  wake, shadows, run_at }
