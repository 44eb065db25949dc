-- Ends a queued record that has waited as long as it may, whether anybody could run it or not.
-- KEYS: 1 record, 2 ageing, 3 outbox, 4 queued, 5 delayed
-- ARGV: 1 id, 2 error JSON, 3 seconds to keep the record, 4 done channel
-- Returns: 1 ended, 0 it was taken, ended or put off meanwhile
local facts = redis.call('HMGET', KEYS[1], 'state', 'generation', 'expiresAt')
local now = now_ms()
if facts[1] ~= 'queued' or not facts[3] then
  redis.call('ZREM', KEYS[2], ARGV[1])
  return 0
end
if tonumber(facts[3]) > now then return 0 end
leave_queue(KEYS[1], ARGV[1], facts[2], KEYS[3], KEYS[4], KEYS[5])
close(KEYS[1], ARGV[1], 'failed', now, ARGV[3], ARGV[4], {'error', ARGV[2]})
return 1
