-- Adds a page of inputs to a map, as a queued slice that is offered to the runners. The same page again changes nothing.
-- KEYS: 1 map, 2 outbox, 3 queued, 4 page
-- ARGV: 1 index of the first input, 2 inputs, 3 the page's bytes ('' when it is in the bucket), 4 work channel, 5 inputs that may wait,
--   6 quota of the token that appends or ''
-- Returns: {'stored', queued member, bytes of pages in Redis}, {'repeated', those bytes}, {'missing'}, {'ended'}, {'sealed'}, {'full', inputs waiting}, {'gap', inputs stored so far}
--   or {4, ...} as accept-with.lua
local facts = redis.call('HMGET', KEYS[1], 'state', 'sealed', 'total', 'cancelRequested', 'done', 'quota')
if not facts[3] then return {'missing'} end
local first, count, total = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(facts[3])
if first + count <= total then return {'repeated', redis.call('HGET', KEYS[1], 'inlineBytes')} end
if facts[4] or (facts[1] ~= 'queued' and facts[1] ~= 'running') then return {'ended'} end
if facts[2] then return {'sealed'} end
if first ~= total then return {'gap', total} end
local waiting = total - tonumber(facts[5] or 0)
if waiting >= tonumber(ARGV[5]) then return {'full', waiting} end
local id = string.match(KEYS[1], '[^:]*$')
-- What has not ended counts for the token that began the map, the rate for the one that appends.
local refused = facts[6] and check_open(KEYS[1], id, facts[6], count) or ARGV[6] ~= '' and charge_rate(KEYS[1], id, ARGV[6], count)
if refused then return refused end
if facts[6] then count_open(KEYS[1], id, facts[6], count) end
if ARGV[3] ~= '' then
  redis.call('SET', KEYS[4], ARGV[3])
  redis.call('HINCRBY', KEYS[1], 'inlineBytes', #ARGV[3])
else
  redis.call('HSET', KEYS[1], 'inBucket', 1)
end
redis.call('HSET', KEYS[1] .. ':left', first, count)
redis.call('HSET', KEYS[1], 'total', first + count)
local now = now_ms()
redis.call('ZADD', beside(KEYS[1], id, 'feeding'), now, id)
local member, record = new_slice(KEYS[1], KEYS[1], first, count, now, KEYS[2], KEYS[3])
redis.call('HSET', record, 'page', first)
redis.call('PUBLISH', ARGV[4], member .. ' ' .. redis.call('HGET', KEYS[1], 'version'))
return {'stored', member, redis.call('HGET', KEYS[1], 'inlineBytes')}
