-- Attempts that run under the key of a record, which waits for one of them to end.
-- KEYS: 1 record
-- ARGV: 1 id
-- Returns: their lease members; none when the record is not parked
local facts = redis.call('HMGET', KEYS[1], 'parked', 'key')
if not facts[1] then return {} end
local _, running = key_places(KEYS[1], ARGV[1], facts[2])
return redis.call('SMEMBERS', running)
