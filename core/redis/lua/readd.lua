-- The queue lost the entry of a queued record: next generation, so that a late copy of the old entry is stale.
-- KEYS: 1 record, 2 outbox, 3 queued
-- ARGV: 1 id, 2 generation, 3 queued member
-- Returns: the new generation, or 0 when the record moved on
redis.call('ZREM', KEYS[3], ARGV[3])
redis.call('ZREM', KEYS[2], ARGV[3])
local facts = redis.call('HMGET', KEYS[1], 'state', 'generation', 'reason')
if facts[1] ~= 'queued' or facts[2] ~= ARGV[2] then return 0 end
to_queue(KEYS[1], ARGV[1], tonumber(ARGV[2]), now_ms(), KEYS[2], KEYS[3], facts[3] or 'queued again: its queue entry was lost')
return tonumber(ARGV[2]) + 1
