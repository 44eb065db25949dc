-- Lets no further tick come.
-- KEYS: 1 schedule, 2 due
-- ARGV: 1 function key
-- Returns: 1, or 0 where there is no such schedule
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'paused', 1)
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
