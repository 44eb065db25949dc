-- The bucket holds a revision of a schedule; one that changed meanwhile stays to be saved.
-- KEYS: 1 schedule, 2 unsaved
-- ARGV: 1 function key, 2 revision
if redis.call('HGET', KEYS[1], 'revision') == ARGV[2] then redis.call('ZREM', KEYS[2], ARGV[1]) end
return 1
