-- Fails a call that is still queued; of a map, those of its inputs that are.
-- KEYS: 1 record, 2 outbox, 3 queued, 4 delayed
-- ARGV: 1 id, 2 error JSON, 3 seconds to keep the record, 4 done channel
-- Returns: 1 failed, 0 when nothing of it is queued any more
local function give_up(record, id)
  local facts = redis.call('HMGET', record, 'state', 'generation')
  if facts[1] ~= 'queued' then return 0 end
  leave_queue(record, id, facts[2], KEYS[2], KEYS[3], KEYS[4])
  close(record, id, 'failed', now_ms(), ARGV[3], ARGV[4], {'error', ARGV[2]})
  return 1
end
if redis.call('HEXISTS', KEYS[1], 'total') == 0 then return give_up(KEYS[1], ARGV[1]) end
local given = 0
for _, n in ipairs(redis.call('SMEMBERS', KEYS[1] .. ':open')) do
  given = math.max(given, give_up(KEYS[1] .. '.' .. n, ARGV[1] .. '.' .. n))
end
return given
