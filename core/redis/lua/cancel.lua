-- Cancels: a queued call ends at once, a running one's runner is told. Of a map, each slice.
-- KEYS: 1 record, 2 outbox, 3 queued, 4 delayed
-- ARGV: 1 id, 2 error JSON, 3 seconds to keep the record, 4 done channel, 5 cancel channel, 6 '1': only when nobody wants it any more
-- Returns: 'cancelled', 'cancelling', 'ended', 'missing' or 'wanted'
local function cancel(record, id)
  local facts = redis.call('HMGET', record, 'state', 'generation', 'runner')
  if facts[1] == 'queued' then
    leave_queue(record, id, facts[2], KEYS[2], KEYS[3], KEYS[4])
    close(record, id, 'cancelled', now_ms(), ARGV[3], ARGV[4], {'error', ARGV[2]})
    return 'cancelled'
  end
  if facts[1] == 'running' then
    redis.call('HSET', record, 'cancelRequested', 1)
    redis.call('PUBLISH', ARGV[5] .. facts[3], id .. ' ' .. facts[2])
    return 'cancelling'
  end
  return facts[1] and 'ended' or 'missing'
end

if ARGV[6] == '1' and not orphaned(KEYS[1], ARGV[1]) then return 'wanted' end
local facts = redis.call('HMGET', KEYS[1], 'state', 'total')
if not facts[2] then return cancel(KEYS[1], ARGV[1]) end
if facts[1] ~= 'queued' and facts[1] ~= 'running' then return 'ended' end
redis.call('HSET', KEYS[1], 'cancelRequested', 1, 'sealed', 1)
for _, n in ipairs(redis.call('SMEMBERS', KEYS[1] .. ':open')) do cancel(KEYS[1] .. '.' .. n, ARGV[1] .. '.' .. n) end
end_map(KEYS[1], now_ms(), ARGV[3], ARGV[4])
return redis.call('HGET', KEYS[1], 'state') == 'cancelled' and 'cancelled' or 'cancelling'
