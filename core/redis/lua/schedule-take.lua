-- Takes the tick that is due, if nobody did, and makes the next one due.
-- KEYS: 1 due, 2 taken
-- ARGV: 1 function key, 2 the due tick, 3 next tick or '', 4 member of the tick to make, or ''
-- Returns: 1 taken, 0 somebody else has it
if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or -1) ~= tonumber(ARGV[2]) then return 0 end
if ARGV[3] == '' then redis.call('ZREM', KEYS[1], ARGV[1]) else redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1]) end
if ARGV[4] ~= '' then redis.call('ZADD', KEYS[2], now_ms(), ARGV[4]) end
return 1
