-- Ends a running slice: its block of outcomes, and slices of those inputs that are to run again.
-- KEYS: 1 record, 2 leases, 3 outbox, 4 queued, 5 delayed
-- ARGV: 1 id, 2 generation, 3 seconds to keep the map's record, 4 done channel, 5 block ('' when no input ended),
--   6 inputs that succeeded, 7 that failed, 8 error JSON of a cancelled input, 9 due channel, 10 '1' when the block's lines are in the bucket,
--   11... of each range to run again: first, count, budget field ('' charges none), '1' for solo or '', ms to wait, why
-- Returns: the queued members of the new slices that do not wait; nil when stale
if not owns(KEYS[1], ARGV[2]) then return nil end
local map, now = map_of(KEYS[1]), now_ms()
local facts = redis.call('HMGET', KEYS[1], 'page', 'cancelRequested')
redis.call('ZREM', KEYS[2], ARGV[1] .. ' ' .. ARGV[2])
if ARGV[5] ~= '' then
  redis.call('RPUSH', map .. ':blocks', ARGV[5])
  if ARGV[10] ~= '' then redis.call('HSET', map, 'inBucket', 1) end
  count_outcomes(map, facts[1], tonumber(ARGV[6]), tonumber(ARGV[7]))
end
local members = {}
for i = 11, #ARGV, 6 do
  if facts[2] then
    redis.call('RPUSH', map .. ':blocks', error_block(ARGV[i], ARGV[i + 1], ARGV[8]))
    count_outcomes(map, facts[1], 0, tonumber(ARGV[i + 1]))
  else
    local member, record = new_slice(map, KEYS[1], ARGV[i], ARGV[i + 1], now, KEYS[3], KEYS[4])
    redis.call('HSET', record, 'reason', ARGV[i + 5])
    if ARGV[i + 2] ~= '' then redis.call('HINCRBY', record, ARGV[i + 2], 1) end
    if ARGV[i + 3] ~= '' then redis.call('HSET', record, 'solo', 1) end
    if tonumber(ARGV[i + 4]) > 0 then
      redis.call('ZREM', KEYS[3], member)
      redis.call('ZREM', KEYS[4], member)
      wait_until(record, member, now + ARGV[i + 4], KEYS[5], ARGV[9])
      local expiry = redis.call('HGET', record, 'expiresAt')
      if expiry then expire_at(record, string.match(record, '[^:]*$'), expiry + ARGV[i + 4]) end
    else
      members[#members + 1] = member
    end
  end
end
end_slice(map, KEYS[1], now, ARGV[3], ARGV[4])
return members
