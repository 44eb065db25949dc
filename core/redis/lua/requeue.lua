-- Gives a running attempt back to the queue under the next generation, charging a budget.
-- KEYS: 1 record, 2 leases, 3 outbox, 4 queued
-- ARGV: 1 id, 2 generation, 3 budget field ('' charges none), 4 why, 5 seconds to keep the record, 6 done channel, 7 error JSON of a cancelled call
-- Returns: the new generation, 0 when stale, -1 when a cancel was wanted (the record is cancelled then)
if not owns(KEYS[1], ARGV[2]) then return 0 end
local now = now_ms()
redis.call('ZREM', KEYS[2], ARGV[1] .. ' ' .. ARGV[2])
if ARGV[3] ~= '' then redis.call('HINCRBY', KEYS[1], ARGV[3], 1) end
if redis.call('HEXISTS', KEYS[1], 'cancelRequested') == 1 then
  close(KEYS[1], ARGV[1], 'cancelled', now, ARGV[5], ARGV[6], {'error', ARGV[7]})
  return -1
end
to_queue(KEYS[1], ARGV[1], tonumber(ARGV[2]), now, KEYS[3], KEYS[4], ARGV[4])
return tonumber(ARGV[2]) + 1
