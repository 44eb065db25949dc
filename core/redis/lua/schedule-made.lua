-- A taken tick has its invocation, or shall have none.
-- KEYS: 1 taken, 2 schedule, 3 unsaved
-- ARGV: 1 member, 2 function key, 3 tick, 4 invocation or ''
redis.call('ZREM', KEYS[1], ARGV[1])
local facts = redis.call('HMGET', KEYS[2], 'schedule', 'lastTick')
if not facts[1] or ARGV[4] == '' or tonumber(facts[2] or 0) >= tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[2], 'lastTick', ARGV[3], 'lastInvocation', ARGV[4])
redis.call('HINCRBY', KEYS[2], 'revision', 1)
redis.call('ZADD', KEYS[3], 'NX', now_ms(), ARGV[2])
return 1
