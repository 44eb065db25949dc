-- Compare-and-set to a terminal state: only the owner of the current generation can.
-- KEYS: 1 record, 2 leases
-- ARGV: 1 id, 2 generation, 3 state, 4 seconds to keep the record, 5 done channel, 6... fields
-- Returns: 1 finished, 0 stale
if not owns(KEYS[1], ARGV[2]) then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1] .. ' ' .. ARGV[2])
if ARGV[3] == 'succeeded' then redis.call('HDEL', KEYS[1], 'input', 'error', 'exception') end
close(KEYS[1], ARGV[1], ARGV[3], now_ms(), ARGV[4], ARGV[5], {unpack(ARGV, 6)})
return 1
