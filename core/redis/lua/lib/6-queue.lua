-- Out of the queue, and into it again.

-- Keeps how an attempt ended that is not the last one, for people: the latest 10. `charge` is the budget that paid, or ''.
-- One that never began and cost nothing is no story: its node had no slot after all.
local function remember(record, generation, now, charge, why)
  local names = {'claimedAt', 'startedAt', 'endedAt', 'bootMs', 'enterMs'}
  local facts = redis.call('HMGET', record, 'history', 'node', 'container', unpack(names))
  if charge == '' and not facts[5] then return end
  local history = facts[1] and cjson.decode(facts[1]) or {}
  local attempt = {generation = tonumber(generation), at = now, charge = charge, why = why}
  if facts[2] then attempt.node = facts[2] end
  if facts[3] then attempt.container = facts[3] end
  for i, name in ipairs(names) do
    if facts[3 + i] then attempt[name] = tonumber(facts[3 + i]) end
  end
  if #history >= 10 then table.remove(history, 1) end
  history[#history + 1] = attempt
  redis.call('HSET', record, 'history', cjson.encode(history))
end

-- A queued record leaves the places where it waits. Answers whether it was due already.
local function leave_queue(record, id, generation, outbox, queued, delayed)
  local member = queued_member(record, id, generation)
  redis.call('ZREM', outbox, member)
  redis.call('ZREM', queued, member)
  redis.call('ZREM', ahead_of(record, id), id)
  if redis.call('HEXISTS', record, 'expiresAt') == 1 then redis.call('ZREM', beside(record, id, 'ageing'), id) end
  free_key(record, id)
  return redis.call('ZREM', delayed, member) == 0
end

-- Queued again under the next generation, to be due at `due`. Returns the queued member, which belongs into the outbox or among the
-- delayed.
local function next_generation(record, id, generation, why, due)
  local expiry = expiry_after(record, due)
  if expiry then expire_at(record, id, expiry) end
  local was = redis.call('HMGET', record, 'state', 'rate', 'startedAt')
  if was[1] == 'running' then
    free_key(record, id)
    -- One that never reached a container has not used its token.
    if was[2] and not was[3] then redis.call('HSET', record, 'token', 1) end
  end
  redis.call('HSET', record, 'state', 'queued', 'generation', generation + 1, 'reason', why)
  redis.call('HDEL', record, 'runner', 'node', 'container', 'dueAt', 'claimedAt', 'startedAt', 'endedAt', 'bootMs', 'enterMs')
  tell_followers(redis.call('HGET', record, 'followed'))
  return queued_member(record, id, generation + 1)
end

-- Back to the queue under the next generation, with an outbox entry. Returns the queued member.
local function to_queue(record, id, generation, now, outbox, queued, why)
  local member = next_generation(record, id, generation, why, now)
  redis.call('ZADD', outbox, now, member)
  redis.call('ZADD', queued, now, member)
  stand_ahead(record, id)
  return member
end
