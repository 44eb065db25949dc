-- Ends an attempt whose lease ran out: requeued as a platform fault, or failed when that budget is used up.
-- KEYS: 1 record, 2 leases, 3 outbox, 4 queued, 5 sweep
-- ARGV: 1 id, 2 generation, 3 platform budget, 4 why, 5 seconds to keep the record, 6 done channel, 7 error JSON (over budget), 8 error JSON (cancelled)
-- Returns: the new generation; 0 stale; -1 cancelled; -2 failed
local now = now_ms()
local member = ARGV[1] .. ' ' .. ARGV[2]
local until_ms = redis.call('ZSCORE', KEYS[2], member)
if not until_ms then return 0 end
if not owns(KEYS[1], ARGV[2]) then
  redis.call('ZREM', KEYS[2], member)
  return 0
end
if tonumber(until_ms) > now or now < tonumber(redis.call('HGET', KEYS[5], 'graceUntil') or 0) then return 0 end
redis.call('ZREM', KEYS[2], member)
local faults = redis.call('HINCRBY', KEYS[1], 'platformFaults', 1)
if redis.call('HEXISTS', KEYS[1], 'cancelRequested') == 1 then
  close(KEYS[1], ARGV[1], 'cancelled', now, ARGV[5], ARGV[6], {'error', ARGV[8]})
  return -1
end
if faults > tonumber(ARGV[3]) or redis.call('HEXISTS', KEYS[1], 'atMostOnce') == 1 then
  close(KEYS[1], ARGV[1], 'failed', now, ARGV[5], ARGV[6], {'error', ARGV[7]})
  return -2
end
remember(KEYS[1], ARGV[2], now, 'platformFaults', ARGV[4])
to_queue(KEYS[1], ARGV[1], tonumber(ARGV[2]), now, KEYS[3], KEYS[4], ARGV[4])
return tonumber(ARGV[2]) + 1
