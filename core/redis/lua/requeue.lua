-- Gives a running attempt back to the queue under the next generation, charging a budget.
-- KEYS: 1 record, 2 leases, 3 outbox, 4 queued, 5 delayed
-- ARGV: 1 id, 2 generation, 3 budget field ('' charges none), 4 why, 5 seconds to keep the record, 6 done channel, 7 error JSON of a cancelled call,
--   8 ms to wait, 9 due channel, 10... fields of the attempt that ends
-- Returns: the new generation, 0 when stale, -1 when a cancel was wanted (the record is cancelled then), -2 when it waits for its time
if not owns(KEYS[1], ARGV[2]) then return 0 end
local now = now_ms()
redis.call('ZREM', KEYS[2], ARGV[1] .. ' ' .. ARGV[2])
if ARGV[3] ~= '' then redis.call('HINCRBY', KEYS[1], ARGV[3], 1) end
if redis.call('HEXISTS', KEYS[1], 'cancelRequested') == 1 then
  close(KEYS[1], ARGV[1], 'cancelled', now, ARGV[5], ARGV[6], {'error', ARGV[7]})
  return -1
end
if #ARGV > 9 then redis.call('HSET', KEYS[1], unpack(ARGV, 10)) end
remember(KEYS[1], ARGV[2], now, ARGV[3], ARGV[4])
if tonumber(ARGV[8]) > 0 then
  local due = now + ARGV[8]
  wait_until(KEYS[1], next_generation(KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[4], due), due, KEYS[5], ARGV[9])
  return -2
end
to_queue(KEYS[1], ARGV[1], tonumber(ARGV[2]), now, KEYS[3], KEYS[4], ARGV[4])
return tonumber(ARGV[2]) + 1
