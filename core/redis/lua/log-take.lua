-- Gives one archiver an app's next segment. Its bounds stay until it is archived, so that whoever takes over after a crash
-- writes the same object again.
-- KEYS: 1 facts of the log, 2 lease, 3 apps with lines to archive
-- ARGV: 1 app, 2 owner, 3 lease in ms, 4 lines of a segment at most
-- Returns: {epoch, first, last}, or nil when there is nothing or it is another's
local owner = redis.call('GET', KEYS[2])
if owner and owner ~= ARGV[2] then return nil end
local facts = redis.call('HMGET', KEYS[1], 'epoch', 'last', 'archived', 'pending')
local last, archived = tonumber(facts[2] or 0), tonumber(facts[3] or 0)
if not facts[1] or last <= archived then
  redis.call('ZREM', KEYS[3], ARGV[1])
  return nil
end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
local upto = tonumber(facts[4] or math.min(last, archived + ARGV[4]))
redis.call('HSET', KEYS[1], 'pending', upto)
return {facts[1], archived + 1, upto}
