-- Shared by all scripts, which are loaded with the files of this folder in front of them, in the order of their numbers.
-- A queued member is "<app>/<fn> <id> <generation>", with a "~" at its end when the call lets others go first; a lease member is "<id> <generation>".

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function queued_member(record, id, generation)
  local facts = redis.call('HMGET', record, 'app', 'fn', 'priority')
  local behind = facts[3] and tonumber(facts[3]) < 0 and '~' or ''
  return facts[1] .. '/' .. facts[2] .. ' ' .. id .. ' ' .. generation .. behind
end

-- The attempt still owns the record: it runs, under this generation.
local function owns(record, generation)
  local facts = redis.call('HMGET', record, 'state', 'generation')
  return facts[1] == 'running' and facts[2] == generation
end

-- What a waiter has no use for.
local UNTOLD = {input = true, exception = true, history = true, waiters = true, claim = true, parked = true}

-- The record by its fields' names, and as one string: names and values in a MessagePack list, without what nobody is told.
local function read_to_tell(record)
  local flat, facts, told, n = redis.call('HGETALL', record), {}, {}, 0
  for i = 1, #flat, 2 do
    local name, value = flat[i], flat[i + 1]
    facts[name] = value
    if not UNTOLD[name] then
      told[n + 1], told[n + 2] = name, value
      n = n + 2
    end
  end
  return facts, told
end

-- `followed` is the field of that name: the channel of those who read the events of an invocation, if anybody does.
local function tell_followers(followed)
  if followed then redis.call('PUBLISH', followed, '') end
end

-- What is stored of the chunks of this generation: how many, the first one that is in the tail, bytes of the tail.
local function extent(facts, generation)
  if facts[1] ~= generation then return 0, 0, 0 end
  return tonumber(facts[2]), tonumber(facts[3]), tonumber(facts[4])
end

-- A key beside a record's: records are "<prefix>inv:<id>".
local function beside(record, id, name)
  return string.sub(record, 1, #record - #id - 4) .. name
end

-- Gateways hear of a new moment in a set of moments when no other one comes earlier.
local function tell_earliest(set, member, channel)
  if redis.call('ZRANGE', set, 0, 0)[1] == member then redis.call('PUBLISH', channel, '') end
end

-- A queued record that is not claimed before then has waited too long.
local function expire_at(record, id, at)
  local ageing = beside(record, id, 'ageing')
  redis.call('HSET', record, 'expiresAt', at)
  redis.call('ZADD', ageing, at, id)
  tell_earliest(ageing, id, beside(record, id, 'ch:due'))
end

-- When a record that is queued again, to be due at `due`, has waited too long: only time in the queue counts. nil where it never has.
local function expiry_after(record, due)
  local waits = redis.call('HMGET', record, 'maxQueueMs', 'expiresAt', 'claimedAt')
  if not waits[1] then return nil end
  if not waits[2] then return due + waits[1] end
  return waits[2] + (waits[3] and due - waits[3] or 0)
end

-- Queued calls of a function that do not wait for their own entry's turn: whoever takes an entry of the function looks here first. Those
-- with a head start are here, also with a negative one, and those that gave their entry to one; scored by when they count as accepted.
local function ahead_of(record, id)
  local names = redis.call('HMGET', record, 'app', 'fn')
  return beside(record, id, 'ahead:' .. names[1] .. '/' .. names[2])
end

-- When a call counts as accepted: its head start earlier, or later where that is negative.
local function moment_of(record)
  local facts = redis.call('HMGET', record, 'createdAt', 'dueAt', 'priority')
  return tonumber(facts[2] or facts[1]) - tonumber(facts[3] or 0) * 1000
end

-- A record that is queued now, if it has a head start.
local function stand_ahead(record, id)
  if redis.call('HEXISTS', record, 'priority') == 1 then redis.call('ZADD', ahead_of(record, id), moment_of(record), id) end
end

-- A queued record waits for its time outside the queue.
local function wait_until(record, member, due, delayed, due_channel)
  redis.call('HSET', record, 'dueAt', due)
  redis.call('ZADD', delayed, due, member)
  tell_earliest(delayed, member, due_channel)
end

-- Another record.
local function record_of(record, id, other)
  return string.sub(record, 1, #record - #id) .. other
end
