-- Moves what is due from the delayed to the outbox and the queued, so that each is enqueued by one caller or, should that one die, by a sweep;
-- and finds what has waited too long.
-- KEYS: 1 delayed, 2 outbox, 3 queued, 4 ageing
-- ARGV: 1 max, 2 prefix of records
-- Returns: {queued members that were due, ids that expired, ms until the next moment of either kind, or -1}
local now = now_ms()
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, member in ipairs(due) do
  redis.call('ZREM', KEYS[1], member)
  redis.call('ZADD', KEYS[2], now, member)
  redis.call('ZADD', KEYS[3], now, member)
  local id = string.match(member, ' (%S+) ')
  stand_ahead(ARGV[2] .. id, id)
end
local expired = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now, 'LIMIT', 0, ARGV[1])
local next_in = -1
local function look(key, offset)
  local first = redis.call('ZRANGE', key, offset, offset, 'WITHSCORES')
  if first[2] and (next_in < 0 or first[2] - now < next_in) then next_in = math.max(0, first[2] - now) end
end
look(KEYS[1], 0)
look(KEYS[4], #expired)
return {due, expired, next_in}
