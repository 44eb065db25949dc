-- The queue has this queued record's entry: look again later. A member whose record is gone or moved on is dropped.
-- KEYS: 1 record, 2 queued
-- ARGV: 1 generation, 2 queued member
local facts = redis.call('HMGET', KEYS[1], 'state', 'generation')
if facts[1] == 'queued' and facts[2] == ARGV[1] then redis.call('ZADD', KEYS[2], 'XX', now_ms(), ARGV[2])
else redis.call('ZREM', KEYS[2], ARGV[2]) end
return 1
