-- Adds a batch of chunks to the tail, only for the owner of the current generation; chunks of an earlier one give way.
-- A batch that is there already changes nothing.
-- KEYS: 1 record, 2 tail, 3 segments
-- ARGV: 1 generation, 2 number of the first chunk, 3 how many, 4 the batch, 5 what an entry costs beyond its bytes
-- Returns: {next number, first number in the tail, bytes of the tail}, or nil when stale
if not owns(KEYS[1], ARGV[1]) then return nil end
local facts = redis.call('HMGET', KEYS[1], 'yieldGeneration', 'yielded', 'tailFirst', 'tailBytes', 'followed')
local next_, tail_first, tail_bytes = extent(facts, ARGV[1])
if next_ == tonumber(ARGV[2]) then
  if facts[1] ~= ARGV[1] then redis.call('DEL', KEYS[2], KEYS[3]) end
  redis.call('XADD', KEYS[2], ARGV[1] .. '-' .. ARGV[2], 'count', ARGV[3], 'batch', ARGV[4])
  next_ = next_ + ARGV[3]
  tail_bytes = tail_bytes + #ARGV[4] + ARGV[5]
  redis.call('HSET', KEYS[1], 'yieldGeneration', ARGV[1], 'yielded', next_, 'tailFirst', tail_first, 'tailBytes', tail_bytes)
  tell_followers(facts[5])
end
return {next_, tail_first, tail_bytes}
