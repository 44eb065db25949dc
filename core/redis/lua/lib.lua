-- Shared by all scripts, which are loaded with this text in front of them.
-- A queued member is "<app>/<fn> <id> <generation>"; a lease member is "<id> <generation>".

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function queued_member(record, id, generation)
  local names = redis.call('HMGET', record, 'app', 'fn')
  return names[1] .. '/' .. names[2] .. ' ' .. id .. ' ' .. generation
end

-- The attempt still owns the record: it runs, under this generation.
local function owns(record, generation)
  local facts = redis.call('HMGET', record, 'state', 'generation')
  return facts[1] == 'running' and facts[2] == generation
end

-- Moves a record to a terminal state and tells whoever waits. `fields` is a flat list.
local function close(record, id, state, now, ttl, done_channel, fields)
  redis.call('HSET', record, 'state', state, 'finishedAt', now, unpack(fields))
  redis.call('HDEL', record, 'reason')
  redis.call('EXPIRE', record, ttl)
  local waiters = redis.call('HGET', record, 'waiters')
  if waiters then
    for waiter in string.gmatch(waiters, '%S+') do redis.call('PUBLISH', done_channel .. waiter, id) end
  end
end

-- Back to the queue under the next generation, with an outbox entry. Returns the queued member.
local function to_queue(record, id, generation, now, outbox, queued, why)
  local member = queued_member(record, id, generation + 1)
  redis.call('HSET', record, 'state', 'queued', 'generation', generation + 1, 'reason', why)
  redis.call('HDEL', record, 'runner', 'node', 'container', 'claimedAt', 'startedAt', 'endedAt', 'bootMs', 'enterMs')
  redis.call('ZADD', outbox, now, member)
  redis.call('ZADD', queued, now, member)
  return member
end
