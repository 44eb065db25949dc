-- Cancels: a queued call ends at once, a running one's runner is told.
-- KEYS: 1 record, 2 outbox, 3 queued
-- ARGV: 1 id, 2 error JSON, 3 seconds to keep the record, 4 done channel, 5 cancel channel
local facts = redis.call('HMGET', KEYS[1], 'state', 'generation', 'runner')
if not facts[1] then return 'missing' end
if facts[1] == 'queued' then
  local member = queued_member(KEYS[1], ARGV[1], facts[2])
  redis.call('ZREM', KEYS[2], member)
  redis.call('ZREM', KEYS[3], member)
  close(KEYS[1], ARGV[1], 'cancelled', now_ms(), ARGV[3], ARGV[4], {'error', ARGV[2]})
  return 'cancelled'
end
if facts[1] == 'running' then
  redis.call('HSET', KEYS[1], 'cancelRequested', 1)
  redis.call('PUBLISH', ARGV[5] .. facts[3], ARGV[1] .. ' ' .. facts[2])
  return 'cancelling'
end
return 'ended'
