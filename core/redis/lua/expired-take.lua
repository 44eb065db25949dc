-- Leases ids whose record has expired. One that still has its record, whose end was put off, waits for that.
-- KEYS: 1 expiring
-- ARGV: 1 lease in ms, 2 max, 3 record prefix
-- Returns: ids
local now = now_ms()
local gone = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[2])) do
  local left = redis.call('PTTL', ARGV[3] .. id)
  if left == -2 then
    gone[#gone + 1] = id
    left = tonumber(ARGV[1])
  end
  redis.call('ZADD', KEYS[1], now + (left < 0 and 60000 or left), id)
end
return gone
