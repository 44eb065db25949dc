-- Says that a map has all its inputs; it ends here when they have ended.
-- KEYS: 1 map, 2 feeding
-- ARGV: 1 seconds to keep the record, 2 done channel, 3 id, 4 ms: only when nothing was appended for so long ('' seals in any case)
-- Returns: 1, or 0 when there is no such map, or somebody appended to it
local now = now_ms()
if ARGV[4] ~= '' then
  local fed = redis.call('ZSCORE', KEYS[2], ARGV[3])
  if not fed or tonumber(fed) > now - ARGV[4] then return 0 end
end
redis.call('ZREM', KEYS[2], ARGV[3])
if redis.call('HEXISTS', KEYS[1], 'total') == 0 then return 0 end
redis.call('HSET', KEYS[1], 'sealed', 1)
end_map(KEYS[1], now, ARGV[1], ARGV[2])
redis.call('PUBLISH', string.gsub(ARGV[2], 'done:$', 'map:') .. ARGV[3], '')
return 1
