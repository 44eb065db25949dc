-- Takes ownership of a queued attempt for a lease.
-- KEYS: 1 record, 2 leases, 3 queued
-- ARGV: 1 id, 2 generation, 3 runner, 4 node, 5 lease in ms
-- Returns: the whole record (flat), or nil when the entry is stale.
local facts = redis.call('HMGET', KEYS[1], 'state', 'generation')
if facts[1] ~= 'queued' or facts[2] ~= ARGV[2] then return nil end
local now = now_ms()
redis.call('HSET', KEYS[1], 'state', 'running', 'runner', ARGV[3], 'node', ARGV[4], 'claimedAt', now)
redis.call('HINCRBY', KEYS[1], 'attempts', 1)
redis.call('HDEL', KEYS[1], 'reason')
redis.call('ZREM', KEYS[3], queued_member(KEYS[1], ARGV[1], ARGV[2]))
redis.call('ZADD', KEYS[2], now + ARGV[5], ARGV[1] .. ' ' .. ARGV[2])
return redis.call('HGETALL', KEYS[1])
