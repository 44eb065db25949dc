-- Notes how the sending of a webhook went, unless its lease has passed to somebody else.
-- KEYS: 1 webhooks, 2 record
-- ARGV: 1 id, 2 end of the lease, 3 ms until it is tried again or '', 4 delivery JSON
-- Returns: 1, or 0 when the lease has ended
if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or -1) ~= tonumber(ARGV[2]) then return 0 end
if ARGV[3] == '' then redis.call('ZREM', KEYS[1], ARGV[1]) else redis.call('ZADD', KEYS[1], now_ms() + ARGV[3], ARGV[1]) end
if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('HSET', KEYS[2], 'delivery', ARGV[4]) end
return 1
