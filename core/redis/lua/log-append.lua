-- Appends lines to an app's log under dense numbers, so that a missing number is a lost line.
-- KEYS: 1 stream, 2 facts of the log (hash: epoch, last, archived, pending, bytes), 3 apps with lines to archive (score: since when)
-- ARGV: 1 app, 2 channel, 3 lines kept at most, 4 bytes kept at most, 5... lines
local facts = redis.call('HMGET', KEYS[2], 'epoch', 'last', 'bytes')
local epoch, last, bytes = facts[1], tonumber(facts[2] or 0), tonumber(facts[3] or 0)
local now = now_ms()
if not epoch then
  redis.call('DEL', KEYS[1])
  epoch = string.format('%.0f', now)
end
for i = 5, #ARGV do
  last = last + 1
  bytes = bytes + #ARGV[i]
  redis.call('XADD', KEYS[1], epoch .. '-' .. last, 'line', ARGV[i])
end
redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', ARGV[3])
if bytes > tonumber(ARGV[4]) then
  redis.call('XTRIM', KEYS[1], 'MAXLEN', math.floor(redis.call('XLEN', KEYS[1]) / 2))
  bytes = math.floor(bytes / 2)
end
redis.call('HSET', KEYS[2], 'epoch', epoch, 'last', last, 'bytes', bytes)
redis.call('ZADD', KEYS[3], 'NX', now, ARGV[1])
redis.call('PUBLISH', ARGV[2], '')
return last
