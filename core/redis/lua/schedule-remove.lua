-- Forgets a function's schedule; a tick that was taken before finds nothing any more.
-- KEYS: 1 schedule, 2 all, 3 due, 4 unsaved
-- ARGV: 1 function key
redis.call('DEL', KEYS[1])
redis.call('SREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZREM', KEYS[4], ARGV[1])
return 1
