-- Makes a function's schedule the given one; an equal one keeps its state, follows the version, and has a next tick again.
-- KEYS: 1 schedule, 2 all, 3 due, 4 unsaved
-- ARGV: 1 function key, 2 schedule JSON, 3 version, 4 next tick or '', 5 paused or '', 6... fields
if redis.call('HGET', KEYS[1], 'schedule') ~= ARGV[2] then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[3], ARGV[1])
  redis.call('HSET', KEYS[1], 'schedule', ARGV[2], 'revision', 1, unpack(ARGV, 6))
  if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'paused', 1) end
  redis.call('ZADD', KEYS[4], now_ms(), ARGV[1])
end
redis.call('HSET', KEYS[1], 'version', ARGV[3])
redis.call('SADD', KEYS[2], ARGV[1])
if ARGV[4] ~= '' and redis.call('HEXISTS', KEYS[1], 'paused') == 0 then redis.call('ZADD', KEYS[3], 'NX', ARGV[4], ARGV[1]) end
return 1
