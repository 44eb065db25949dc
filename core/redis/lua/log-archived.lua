-- A segment is in the archive: the next one begins behind it, and archived lines beyond the latest few leave Redis.
-- KEYS: 1 stream, 2 facts of the log, 3 lease, 4 apps with lines to archive
-- ARGV: 1 app, 2 epoch, 3 last of the segment, 4 archived lines to keep
-- Returns: 1, or 0 when it was noted before or the log began anew
local facts = redis.call('HMGET', KEYS[2], 'epoch', 'last', 'archived', 'bytes')
local upto = tonumber(ARGV[3])
if facts[1] ~= ARGV[2] or tonumber(facts[3] or 0) >= upto then return 0 end
redis.call('HSET', KEYS[2], 'archived', upto)
redis.call('HDEL', KEYS[2], 'pending')
redis.call('DEL', KEYS[3])
if tonumber(facts[2]) <= upto then redis.call('ZREM', KEYS[4], ARGV[1]) else redis.call('ZADD', KEYS[4], now_ms(), ARGV[1]) end
local first = math.min(upto, facts[2] - ARGV[4]) + 1
local before = redis.call('XLEN', KEYS[1])
if first > 1 then redis.call('XTRIM', KEYS[1], 'MINID', '~', ARGV[2] .. '-' .. first) end
local after = redis.call('XLEN', KEYS[1])
if before > 0 then redis.call('HSET', KEYS[2], 'bytes', math.floor(tonumber(facts[4] or 0) * after / before)) end
return 1
