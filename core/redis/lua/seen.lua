-- The queue has this queued record's entry: look again later, and list its function as having work, in case nobody knows.
-- A member whose record is gone or moved on is dropped.
-- KEYS: 1 record, 2 queued, 3 functions with work (set)
-- ARGV: 1 generation, 2 queued member, 3 function key
local facts = redis.call('HMGET', KEYS[1], 'state', 'generation')
if facts[1] == 'queued' and facts[2] == ARGV[1] then
  redis.call('ZADD', KEYS[2], 'XX', now_ms(), ARGV[2])
  redis.call('SADD', KEYS[3], ARGV[3])
else
  redis.call('ZREM', KEYS[2], ARGV[2])
end
return 1
