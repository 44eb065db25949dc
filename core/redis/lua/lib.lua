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

-- The whole record as one string: each name and value behind its length. Not what a waiter has no use for.
local function packed(record)
  local parts = {}
  local flat = redis.call('HGETALL', record)
  for i = 1, #flat, 2 do
    if flat[i] ~= 'input' and flat[i] ~= 'exception' then
      parts[#parts + 1] = struct.pack('>I4', #flat[i]) .. flat[i]
      parts[#parts + 1] = struct.pack('>I4', #flat[i + 1]) .. flat[i + 1]
    end
  end
  return table.concat(parts)
end

-- Moves a record to a terminal state and tells whoever waits, with the record itself. `fields` is a flat list.
local function close(record, id, state, now, ttl, done_channel, fields)
  redis.call('HSET', record, 'state', state, 'finishedAt', now, unpack(fields))
  redis.call('HDEL', record, 'reason')
  redis.call('EXPIRE', record, ttl)
  local waiters = redis.call('HGET', record, 'waiters')
  if waiters then
    local message = id .. ' ' .. packed(record)
    for waiter in string.gmatch(waiters, '%S+') do redis.call('PUBLISH', done_channel .. waiter, message) end
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
