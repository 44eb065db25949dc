-- What needs recovering. A store that was away (no look for a third of a lease) lets no lease end for one whole lease time.
-- KEYS: 1 outbox, 2 leases, 3 queued, 4 sweep (hash: lookedAt, graceUntil)
-- ARGV: 1 outbox age in ms, 2 lease in ms, 3 queued age in ms, 4 max of each
-- Returns: {queued members of the outbox, expired lease members, queued members to check}
local now = now_ms()
local sweep = redis.call('HMGET', KEYS[4], 'lookedAt', 'graceUntil')
local grace = tonumber(sweep[2] or 0)
if not sweep[1] or now - sweep[1] > ARGV[2] / 3 then
  grace = now + ARGV[2]
  redis.call('HSET', KEYS[4], 'graceUntil', grace)
end
redis.call('HSET', KEYS[4], 'lookedAt', now)
local expired = {}
if now >= grace then expired = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[4]) end
return {
  redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[1], 'LIMIT', 0, ARGV[4]),
  expired,
  redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now - ARGV[3], 'LIMIT', 0, ARGV[4]),
}
