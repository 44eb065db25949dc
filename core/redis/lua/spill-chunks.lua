-- Replaces the tail by a segment in the bucket that holds the same chunks and maybe more, as long as it is the tail that
-- the segment was made from. Also after the end of the attempt, to give its memory back.
-- KEYS: 1 record, 2 tail, 3 segments
-- ARGV: 1 generation, 2 number of the first chunk, 3 number behind the last one in the tail, 4 how many in the segment, 5 bucket key
-- Returns: {next number, first number in the tail, bytes of the tail}, or nil when stale
local facts = redis.call('HMGET', KEYS[1], 'yieldGeneration', 'yielded', 'tailFirst', 'tailBytes', 'followed', 'state', 'generation')
if facts[7] ~= ARGV[1] or facts[6] == 'queued' then return nil end
local is_running = facts[6] == 'running'
local next_, tail_first, tail_bytes = extent(facts, ARGV[1])
if tail_first == tonumber(ARGV[2]) and next_ == tonumber(ARGV[3]) and (is_running or tail_first + ARGV[4] == next_) then
  if facts[1] ~= ARGV[1] then redis.call('DEL', KEYS[3]) end
  redis.call('DEL', KEYS[2])
  redis.call('XADD', KEYS[3], ARGV[1] .. '-' .. ARGV[2], 'count', ARGV[4], 'key', ARGV[5])
  if not is_running then redis.call('EXPIRE', KEYS[3], redis.call('TTL', KEYS[1])) end
  next_ = tail_first + ARGV[4]
  tail_first, tail_bytes = next_, 0
  redis.call('HSET', KEYS[1], 'yieldGeneration', ARGV[1], 'yielded', next_, 'tailFirst', tail_first, 'tailBytes', 0)
  tell_followers(facts[5])
end
return {next_, tail_first, tail_bytes}
