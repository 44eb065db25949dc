-- Stores a new invocation with its outbox entry, unless its idempotency key was used before.
-- KEYS: 1 record, 2 outbox, 3 queued, 4 recent (stream), 5 idempotency record
-- ARGV: 1 id, 2 queued member, 3 digest of the call ('' without a key), 4 seconds to keep the key, 5 app, 6 fn, 7... fields
-- Returns: {1, id} when created; {0, earlier id, its digest} otherwise.
if ARGV[3] ~= '' then
  local earlier = redis.call('HMGET', KEYS[5], 'id', 'digest')
  if earlier[1] then return {0, earlier[1], earlier[2]} end
  redis.call('HSET', KEYS[5], 'id', ARGV[1], 'digest', ARGV[3])
  redis.call('EXPIRE', KEYS[5], ARGV[4])
end
local now = now_ms()
redis.call('HSET', KEYS[1], 'state', 'queued', 'generation', 1, 'createdAt', now, 'app', ARGV[5], 'fn', ARGV[6], unpack(ARGV, 7))
redis.call('ZADD', KEYS[2], now, ARGV[2])
redis.call('ZADD', KEYS[3], now, ARGV[2])
redis.call('XADD', KEYS[4], 'MAXLEN', '~', 10000, '*', 'id', ARGV[1], 'app', ARGV[5], 'fn', ARGV[6])
return {1, ARGV[1]}
