-- Stores a new map without inputs, unless its idempotency key was used before, or the map that it redrives has a successor.
-- KEYS: 1 record, 2 recent (stream), 3 idempotency record
-- ARGV: 1 id, 2 digest of the call ('' without a key), 3 seconds to keep the key, 4 app, 5 fn, 6 version,
--   7 id it is redriven from or '', 8 calling invocation ('' from outside), 9 its generation, 10 how many of its calls to list, 11 quota of the token or '', 12... fields
-- Returns: as accept-with.lua
if ARGV[2] ~= '' then
  local earlier = redis.call('HMGET', KEYS[3], 'id', 'digest')
  if earlier[1] then return {0, earlier[1], earlier[2]} end
end
if ARGV[8] ~= '' then
  local answer = link(KEYS[1], ARGV[1], ARGV[8], ARGV[9], ARGV[10])
  if answer then return answer end
end
if ARGV[7] ~= '' then
  local from = record_of(KEYS[1], ARGV[1], ARGV[7])
  local as = redis.call('HGET', from, 'redrivenAs')
  if as then return {0, as, ARGV[2]} end
end
if ARGV[11] ~= '' then
  local refused = check_open(KEYS[1], ARGV[1], ARGV[11], 1) or charge_rate(KEYS[1], ARGV[1], ARGV[11], 1)
  if refused then return refused end
  -- Each of its inputs counts, and the map itself does not.
  if string.match(ARGV[11], '%d+$') ~= '0' then redis.call('HSET', KEYS[1], 'quota', ARGV[11]) end
end
if ARGV[7] ~= '' then
  redis.call('HSET', record_of(KEYS[1], ARGV[1], ARGV[7]), 'redrivenAs', ARGV[1])
  redis.call('HSET', KEYS[1], 'redrivenFrom', ARGV[7])
end
if ARGV[2] ~= '' then
  redis.call('HSET', KEYS[3], 'id', ARGV[1], 'digest', ARGV[2])
  redis.call('EXPIRE', KEYS[3], ARGV[3])
end
local now = now_ms()
redis.call('HSET', KEYS[1], 'state', 'queued', 'generation', 1, 'createdAt', now, 'app', ARGV[4], 'fn', ARGV[5],
  'version', ARGV[6], 'total', 0, 'done', 0, 'failed', 0, 'inlineBytes', 0, unpack(ARGV, 12))
redis.call('ZADD', beside(KEYS[1], ARGV[1], 'feeding'), now, ARGV[1])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', 10000, '*', 'id', ARGV[1], 'app', ARGV[4], 'fn', ARGV[5])
return {1, ARGV[1]}
