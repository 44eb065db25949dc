-- Leases webhooks that are due.
-- KEYS: 1 webhooks
-- ARGV: 1 lease in ms, 2 max
-- Returns: {ids, end of the lease, ms until the next is due or ''}
local now = now_ms()
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[2])
for _, id in ipairs(ids) do redis.call('ZADD', KEYS[1], now + ARGV[1], id) end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return {ids, now + ARGV[1], first[2] and math.max(0, first[2] - now) or ''}
