-- Lets ticks come again, those after a moment.
-- KEYS: 1 schedule, 2 due, 3 unsaved
-- ARGV: 1 function key, 2 since, 3 next tick or ''
-- Returns: 1, or 0 where there is no such schedule
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if redis.call('HDEL', KEYS[1], 'paused') == 0 then return 1 end
redis.call('HSET', KEYS[1], 'since', ARGV[2])
redis.call('HINCRBY', KEYS[1], 'revision', 1)
redis.call('ZADD', KEYS[3], 'NX', now_ms(), ARGV[1])
if ARGV[3] ~= '' then redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1]) end
return 1
