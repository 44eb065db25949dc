-- Keeps the first inputs of a running slice and queues the others, which nobody has started. Of a cancelled map, they end here.
-- KEYS: 1 record, 2 outbox, 3 queued
-- ARGV: 1 generation, 2 inputs to keep, 3 error JSON of a cancelled input
-- Returns: the queued member of the others, or nil when the attempt is stale or there are none
if not owns(KEYS[1], ARGV[1]) then return nil end
local slice = redis.call('HMGET', KEYS[1], 'first', 'count', 'page', 'cancelRequested')
local keep = tonumber(ARGV[2])
if keep >= tonumber(slice[2]) then return nil end
redis.call('HSET', KEYS[1], 'count', keep)
local map, first, count = map_of(KEYS[1]), slice[1] + keep, slice[2] - keep
if slice[4] then
  redis.call('RPUSH', map .. ':blocks', error_block(first, count, ARGV[3]))
  count_outcomes(map, slice[3], 0, count)
  return nil
end
local member = new_slice(map, KEYS[1], first, count, now_ms(), KEYS[2], KEYS[3])
return member
