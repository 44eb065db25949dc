-- What is to be done about schedules, by Redis' clock.
-- KEYS: 1 due, 2 taken, 3 unsaved
-- ARGV: 1 age in ms, 2 max of each
-- Returns: {now, keys whose tick is due, members of taken ticks, keys of unsaved schedules, the next due moment or ''}
local now = now_ms()
local after = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
return {
  now,
  redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[2]),
  redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[1], 'LIMIT', 0, ARGV[2]),
  redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now - ARGV[1], 'LIMIT', 0, ARGV[2]),
  after[2] or '',
}
