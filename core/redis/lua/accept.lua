-- Stores a new invocation with its outbox entry, unless its idempotency key was used before, and offers it to the runners.
-- KEYS: 1 record, 2 outbox, 3 queued, 4 recent (stream), 5 idempotency record
-- ARGV: 1 id, 2 queued member, 3 digest of the call ('' without a key), 4 seconds to keep the key, 5 app, 6 fn,
--       7 calling invocation ('' from outside), 8 its generation, 9 how many of its calls to list, 10 work channel, 11 version, 12... fields
-- Returns: {1, id} when created; {0, earlier id, its digest} when stored before; {2} when the calling attempt has ended.
if ARGV[3] ~= '' then
  local earlier = redis.call('HMGET', KEYS[5], 'id', 'digest')
  if earlier[1] then return {0, earlier[1], earlier[2]} end
end
if ARGV[7] ~= '' then
  local answer = link(KEYS[1], ARGV[1], ARGV[7], ARGV[8], ARGV[9])
  if answer then return answer end
end
if ARGV[3] ~= '' then
  redis.call('HSET', KEYS[5], 'id', ARGV[1], 'digest', ARGV[3])
  redis.call('EXPIRE', KEYS[5], ARGV[4])
end
local now = now_ms()
redis.call('HSET', KEYS[1], 'state', 'queued', 'generation', 1, 'createdAt', now, 'app', ARGV[5], 'fn', ARGV[6], 'version', ARGV[11], unpack(ARGV, 12))
redis.call('ZADD', KEYS[2], now, ARGV[2])
redis.call('ZADD', KEYS[3], now, ARGV[2])
redis.call('XADD', KEYS[4], 'MAXLEN', '~', 10000, '*', 'id', ARGV[1], 'app', ARGV[5], 'fn', ARGV[6])
redis.call('PUBLISH', ARGV[10], ARGV[2] .. ' ' .. ARGV[11])
return {1, ARGV[1]}
