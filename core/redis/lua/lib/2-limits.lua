-- Limits of a function: running inputs per key, and starts in a time.

-- The function as it was deployed, whose limits these are: all variants of a class share them.
local function limited_name(record)
  local names = redis.call('HMGET', record, 'app', 'fn')
  return names[1] .. '/' .. string.match(names[2], '^[^~]*')
end

-- The places of a key of `key_concurrency`: its name, the set of its running attempts, and what is parked, by when it was accepted.
local function key_places(record, id, key)
  local name = limited_name(record) .. ':' .. key
  return name, beside(record, id, 'keyrun:' .. name), beside(record, id, 'parked:' .. name)
end

-- Lets the oldest parked record of a key try again: the gateways put it into the queue. One that finds the place taken is parked again,
-- as the oldest.
local function unpark(record, id, parked)
  while true do
    local other = redis.call('ZRANGE', parked, 0, 0)[1]
    if not other then return end
    redis.call('ZREM', parked, other)
    local its = record_of(record, id, other)
    local facts = redis.call('HMGET', its, 'state', 'generation', 'parked')
    if facts[1] == 'queued' and facts[3] then
      redis.call('HDEL', its, 'parked', 'reason')
      return wait_until(its, queued_member(its, other, facts[2]), now_ms(), beside(record, id, 'delayed'), beside(record, id, 'ch:due'))
    end
  end
end

-- A record with a key stops running, or waiting for its turn: the next one may try.
local function free_key(record, id)
  local facts = redis.call('HMGET', record, 'key', 'keyLimit', 'generation')
  if not facts[2] then return end
  local _, running, parked = key_places(record, id, facts[1])
  redis.call('SREM', running, id .. ' ' .. facts[3])
  redis.call('ZREM', parked, id)
  redis.call('HDEL', record, 'parked')
  unpark(record, id, parked)
end

local PERIODS = {s = 1000, m = 60000, h = 3600000, d = 86400000}

-- Takes up to `wanted` tokens of a function's rate. Where there is none, the record gets the next one that comes: answers 0, and when.
-- Stored is the time at which the bucket would be full.
local function take_tokens(record, id, rate, wanted, now)
  local count, unit = string.match(rate, '^(%d+)/(%a)$')
  local period, bucket = PERIODS[unit], beside(record, id, 'rate:' .. limited_name(record))
  local each, full = period / count, math.max(tonumber(redis.call('GET', bucket) or 0), now)
  local own = redis.call('HDEL', record, 'token')
  local free = math.max(0, math.min(wanted - own, math.floor((now + period - full) / each + 0.000001)))
  local took = own + free
  full = full + (took > 0 and free or 1) * each
  redis.call('SET', bucket, string.format('%.3f', full), 'PX', math.ceil(full - now) + 1000)
  if took == 0 then
    redis.call('HSET', record, 'token', 1)
    return 0, math.ceil(full - period)
  end
  return took
end
