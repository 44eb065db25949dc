-- The queue has the entry: its outbox entry goes, and runners hear that the function has work.
-- KEYS: 1 outbox, 2 functions with work (set)
-- ARGV: 1 queued member, 2 function key, 3 work channel
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('SADD', KEYS[2], ARGV[2])
redis.call('PUBLISH', ARGV[3], ARGV[2])
return 1
