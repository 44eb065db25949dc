-- The queue has these entries: their outbox entries go, and runners hear that the functions have work.
-- KEYS: 1 outbox, 2 functions with work (set)
-- ARGV: 1 work channel, 2... pairs of queued member, function key
local told = {}
for i = 2, #ARGV, 2 do
  local key = ARGV[i + 1]
  redis.call('ZREM', KEYS[1], ARGV[i])
  if not told[key] then
    told[key] = true
    redis.call('SADD', KEYS[2], key)
    redis.call('PUBLISH', ARGV[1], key)
  end
end
return 1
