-- Takes ownership of a queued attempt for a lease, whether its entry is in the queue by now or still in the outbox; of a slice,
-- of so many inputs, while the others are queued as a slice again. Where another call of the function counts as accepted earlier, or
-- where the entry is stale, that call is taken: one that loses its entry so stands ahead itself, and the entry of the other one, stale
-- by then, is left for it. What a limit of its function keeps from running now is put aside under the next generation: parked for
-- its key, or delayed until the token comes that is kept for it.
-- KEYS: 1 record, 2 leases, 3 queued, 4 outbox, 5 ageing, 6 those ahead of the function's queue, 7 delayed, 8 limited
-- ARGV: 1 id, 2 generation, 3 runner, 4 node, 5 lease in ms, 6 inputs to take, 7 due channel, 8 the claim's token or ''
-- Returns: {id, whole record (flat), of a slice with 'rest' and 'restCount' behind it}; or nil when the entry is stale, or what it
--   would run may not run now, or has waited too long: the gateways end it.
local id, record, generation, now = ARGV[1], KEYS[1], ARGV[2], now_ms()

-- Queued, and neither waiting for its time nor waiting for too long: the gateways end those.
local function look(of)
  local facts = redis.call('HMGET', of, 'state', 'generation', 'expiresAt', 'dueAt', 'followed', 'parent',
    'keyLimit', 'rate', 'key', 'first', 'count', 'solo')
  return facts, facts[1] == 'queued' and (not facts[3] or tonumber(facts[3]) > now) and (not facts[4] or tonumber(facts[4]) <= now)
end

local facts, standing = look(record)
standing = standing and facts[2] == generation
-- It was claimed before it was queued: its entry is still to come.
local keeps_entry = false
local first = redis.call('ZRANGE', KEYS[6], 0, 0, 'WITHSCORES')

-- This very claim, whose answer was lost, has taken something: the token says so. What it took instead of its own is noted.
local took = beside(KEYS[1], ARGV[1], 'took:' .. ARGV[8])
if ARGV[8] ~= '' and (not standing or first[1]) then
  local taken = redis.call('GET', took) or ARGV[1]
  local its = record_of(KEYS[1], ARGV[1], taken)
  local claim = redis.call('HMGET', its, 'state', 'claim')
  if claim[1] == 'running' and claim[2] == ARGV[8] then return {taken, redis.call('HGETALL', its)} end
end
while first[1] do
  local other = record_of(KEYS[1], ARGV[1], first[1])
  local others, may = look(other)
  if may then
    if first[1] ~= id and (not standing or tonumber(first[2]) <= moment_of(record)) then
      if standing then
        redis.call('ZADD', KEYS[6], moment_of(record), id)
        keeps_entry = redis.call('ZSCORE', KEYS[4], queued_member(record, id, generation)) ~= false
      end
      id, record, generation, facts, standing = first[1], other, others[2], others, true
    end
    redis.call('ZREM', KEYS[6], id)
    break
  end
  redis.call('ZREM', KEYS[6], first[1])
  first = redis.call('ZRANGE', KEYS[6], 0, 0, 'WITHSCORES')
end
if not standing then return nil end
local member = queued_member(record, id, generation)

-- It needs its place in queue and outbox no more; one that another call needs stays.
local function leave()
  redis.call('ZREM', KEYS[3], member)
  if id == ARGV[1] or keeps_entry then redis.call('ZREM', KEYS[4], member) end
end

local running
if facts[7] then
  local name, its, parked = key_places(record, id, facts[9])
  running = its
  local busy = redis.call('SCARD', running)
  if busy >= tonumber(facts[7]) then
    leave()
    next_generation(record, id, tonumber(generation), 'waiting for key ' .. facts[9] .. ': ' .. busy .. ' of ' .. facts[7] .. ' running', now)
    redis.call('HSET', record, 'parked', 1)
    redis.call('ZADD', parked, redis.call('HGET', record, 'createdAt') - (redis.call('HGET', record, 'priority') or 0) * 1000, id)
    redis.call('ZADD', KEYS[8], 'NX', now, name)
    return nil
  end
end
local first_input, count = facts[10], tonumber(facts[11] or 1)
local take = facts[12] and 1 or math.min(count, tonumber(ARGV[6]))
if facts[8] then
  local took, due = take_tokens(record, id, facts[8], take, now)
  if took == 0 then
    leave()
    wait_until(record, next_generation(record, id, tonumber(generation), 'rate limit ' .. facts[8], due), due, KEYS[7], ARGV[7])
    return nil
  end
  take = took
end
if running then redis.call('SADD', running, id .. ' ' .. generation) end
if facts[3] then redis.call('ZREM', KEYS[5], id) end
redis.call('HSET', record, 'state', 'running', 'runner', ARGV[3], 'node', ARGV[4], 'claimedAt', now, 'claim', ARGV[8])
if id ~= ARGV[1] and ARGV[8] ~= '' then redis.call('SET', took, id, 'PX', ARGV[5]) end
redis.call('HINCRBY', record, 'attempts', 1)
redis.call('HDEL', record, 'reason', 'awaits')
if facts[6] and unwanted(record, id) then redis.call('HSET', record, 'cancelRequested', 1) end
leave()
redis.call('ZADD', KEYS[2], now + ARGV[5], id .. ' ' .. generation)
tell_followers(facts[5])
local map = map_of(record)
if not map then return {id, redis.call('HGETALL', record)} end

local rest
if take < count then
  rest = new_slice(map, record, first_input + take, count - take, now, KEYS[4], KEYS[3])
  redis.call('HSET', record, 'count', take)
end
if redis.call('HGET', map, 'state') == 'queued' then
  redis.call('HSET', map, 'state', 'running', 'claimedAt', now, 'startedAt', now)
end
local flat = redis.call('HGETALL', record)
if rest then
  for _, value in ipairs({'rest', rest, 'restCount', count - take}) do flat[#flat + 1] = value end
end
return {id, flat}
