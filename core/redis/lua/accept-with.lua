-- Stores a new invocation as accept.lua does, with what a caller may ask beside the arguments: that it is due later, has a head start, ends when it waits
-- too long, replaces an earlier one with its debounce key that has not started, or runs what another one failed with; and what a token with a quota asks.
-- KEYS: 1 record, 2 outbox, 3 queued, 4 recent (stream), 5 idempotency record, 6 delayed, 7 ageing, 8 debounce (id)
-- ARGV: 1 id, 2 queued member, 3 digest of the call ('' without a key), 4 seconds to keep the key, 5 app, 6 fn,
--   7 calling invocation ('' from outside), 8 its generation, 9 how many of its calls to list, 10 work channel, 11 version, 12 due channel,
--   13 ms to wait, 14 '1' to debounce, 15 id it is redriven from or '', 16 quota of the token or '', 17... fields
-- Returns: as accept.lua; or {3, id it was merged into, id under which that one's old input is in the bucket or ''}; or {4, 'rate', ms until there
--   is room} or {4, 'open', how many have not ended} when the quota refuses it
if ARGV[3] ~= '' then
  local earlier = redis.call('HMGET', KEYS[5], 'id', 'digest')
  if earlier[1] then return {0, earlier[1], earlier[2]} end
end
local now = now_ms()
local due = now + ARGV[13]
local id, record, generation, member, outcome, waiters = ARGV[1], KEYS[1], 1, ARGV[2], {1, ARGV[1]}, nil

-- The waiting one whose place it takes.
local waiting = ARGV[14] == '1' and redis.call('GET', KEYS[8])
local earlier = waiting and record_of(KEYS[1], ARGV[1], waiting)
local facts = waiting and redis.call('HMGET', earlier, 'state', 'attempts', 'generation', 'input', 'inputFrom', 'waiters', 'parent')
local merges = facts and facts[1] == 'queued' and not facts[2]

if ARGV[7] ~= '' then
  if merges then
    if not owns(record_of(KEYS[1], ARGV[1], ARGV[7]), ARGV[8]) then return {2} end
  else
    local answer = link(KEYS[1], ARGV[1], ARGV[7], ARGV[8], ARGV[9])
    if answer then return answer end
  end
end
local from = ARGV[15] ~= '' and record_of(KEYS[1], ARGV[1], ARGV[15])
if from then
  local as = redis.call('HGET', from, 'redrivenAs')
  if as then return {0, as, ARGV[3]} end
end
-- A call that takes an earlier one's place leaves that one's count as it is.
if ARGV[16] ~= '' then
  local refused = (not merges and check_open(record, id, ARGV[16], 1)) or charge_rate(record, id, ARGV[16], 1)
  if refused then return refused end
  if not merges then
    count_open(record, id, ARGV[16], 1)
    if string.match(ARGV[16], '%d+$') ~= '0' then redis.call('HSET', record, 'quota', ARGV[16]) end
  end
end
if from then
  redis.call('HSET', from, 'redrivenAs', id)
  redis.call('HSET', record, 'redrivenFrom', ARGV[15])
end
if merges then
  -- One that was due already may be in the queue: that entry gets stale.
  local was_due = leave_queue(earlier, waiting, facts[3], KEYS[2], KEYS[3], KEYS[6])
  id, record, generation, waiters = waiting, earlier, facts[3] + (was_due and 1 or 0), facts[6]
  outcome = {3, id, facts[4] and '' or facts[5] or id}
  if facts[5] then redis.call('ZREM', beside(KEYS[1], ARGV[1], 'expiring'), facts[5]) end
  -- It is several callers' now, and ends with none of them.
  if facts[7] then redis.call('SREM', record_of(record, id, invocation_of(facts[7])) .. ':live', id) end
  redis.call('HDEL', record, 'input', 'inputFrom', 'inBucket', 'ttl', 'acceptPickle', 'backoff', 'atMostOnce', 'maxQueueMs', 'priority', 'key', 'keyLimit', 'rate', 'token', 'expiresAt', 'webhook')
end
if ARGV[14] == '1' then redis.call('SET', KEYS[8], id, 'PX', ARGV[13] + 86400000) end
if ARGV[3] ~= '' then
  redis.call('HSET', KEYS[5], 'id', id, 'digest', ARGV[3])
  redis.call('EXPIRE', KEYS[5], ARGV[4])
end

redis.call('HSET', record, 'state', 'queued', 'generation', generation, 'app', ARGV[5], 'fn', ARGV[6], 'version', ARGV[11], unpack(ARGV, 17))
redis.call('HSETNX', record, 'createdAt', now)
if merges then
  member = queued_member(record, id, generation)
  redis.call('HDEL', record, 'parent', 'parentGeneration', 'root', 'depth', 'awaited')
  if waiters then redis.call('HSET', record, 'waiters', waiters) end
  if redis.call('HEXISTS', record, 'inBucket') == 1 then
    -- Kept until it is known when the record expires.
    redis.call('HSET', record, 'inputFrom', ARGV[1])
    redis.call('ZADD', beside(KEYS[1], ARGV[1], 'expiring'), '+inf', ARGV[1])
  end
else
  redis.call('XADD', KEYS[4], 'MAXLEN', '~', 10000, '*', 'id', id, 'app', ARGV[5], 'fn', ARGV[6])
end
local expiry = expiry_after(record, due)
if expiry then expire_at(record, id, expiry) end
if due > now then
  wait_until(record, member, due, KEYS[6], ARGV[12])
else
  redis.call('ZADD', KEYS[2], now, member)
  redis.call('ZADD', KEYS[3], now, member)
  stand_ahead(record, id)
  redis.call('PUBLISH', ARGV[10], member .. ' ' .. ARGV[11])
end
return outcome
