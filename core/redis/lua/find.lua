-- What needs recovering. A store that was away (no look for a third of a lease) lets no lease end for one whole lease time.
-- KEYS: 1 outbox, 2 leases, 3 queued, 4 sweep (hash: lookedAt, graceUntil), 5 feeding, 6 limited
-- ARGV: 1 outbox age in ms, 2 lease in ms, 3 queued age in ms, 4 max of each, 5 ms without an input after which a map is idle, or '', 6 record prefix
-- Returns: {queued members of the outbox, expired lease members, queued members to check, ids of idle maps}
local now = now_ms()
local sweep = redis.call('HMGET', KEYS[4], 'lookedAt', 'graceUntil')
local grace = tonumber(sweep[2] or 0)
if not sweep[1] or now - sweep[1] > ARGV[2] / 3 then
  grace = now + ARGV[2]
  redis.call('HSET', KEYS[4], 'graceUntil', grace)
end
redis.call('HSET', KEYS[4], 'lookedAt', now)
-- Keys with something parked, of which a look is due: what runs no longer frees its place, so that nothing is parked for ever.
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[6], '-inf', now - ARGV[3], 'LIMIT', 0, ARGV[4])) do
  local running, parked = beside(ARGV[6], '', 'keyrun:' .. name), beside(ARGV[6], '', 'parked:' .. name)
  for _, member in ipairs(redis.call('SMEMBERS', running)) do
    local id, generation = string.match(member, '^(%S+) (%d+)$')
    if not owns(ARGV[6] .. id, generation) then redis.call('SREM', running, member) end
  end
  local head = redis.call('ZRANGE', parked, 0, 0)[1]
  redis.call(head and 'ZADD' or 'ZREM', KEYS[6], unpack(head and {now, name} or {name}))
  local places = head and tonumber(redis.call('HGET', ARGV[6] .. head, 'keyLimit') or 1) - redis.call('SCARD', running) or 0
  for _ = 1, math.min(places, redis.call('ZCARD', parked)) do unpark(ARGV[6], '', parked) end
end
local expired = {}
if now >= grace then expired = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[4]) end
return {
  redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[1], 'LIMIT', 0, ARGV[4]),
  expired,
  redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now - ARGV[3], 'LIMIT', 0, ARGV[4]),
  ARGV[5] == '' and {} or redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', now - ARGV[5], 'LIMIT', 0, ARGV[4]),
}
