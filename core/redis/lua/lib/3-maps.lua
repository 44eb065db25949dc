-- Slices of maps.

-- What a further slice of a map takes over from the record it is made from.
local SLICE_FIELDS = {'app', 'fn', 'method', 'variant', 'version', 'timeoutMs', 'retries', 'backoff', 'acceptPickle', 'atMostOnce', 'maxQueueMs', 'priority', 'key', 'keyLimit', 'rate', 'page', 'solo', 'userFaults', 'platformFaults',
  'parent', 'parentGeneration', 'awaited', 'root', 'depth'}

-- The record of the map whose slice this record is; nil for an invocation's own.
local function map_of(record)
  return string.match(record, '^(.*)%.%d+$')
end

-- A queued slice with its outbox entry, made from the record `from`. Returns its queued member, its record.
local function new_slice(map, from, first, count, now, outbox, queued)
  local n = redis.call('HINCRBY', map, 'slices', 1)
  local record = map .. '.' .. n
  local fields = {'state', 'queued', 'generation', 1, 'createdAt', now, 'encoding', 'json', 'first', first, 'count', count}
  for i, value in ipairs(redis.call('HMGET', from, unpack(SLICE_FIELDS))) do
    if value then
      fields[#fields + 1] = SLICE_FIELDS[i]
      fields[#fields + 1] = value
    end
  end
  redis.call('HSET', record, unpack(fields))
  redis.call('SADD', map .. ':open', n)
  local id = string.match(record, '[^:]*$')
  local member = queued_member(record, id, 1)
  local expiry = expiry_after(from, now)
  if expiry then expire_at(record, id, expiry) end
  redis.call('ZADD', outbox, now, member)
  redis.call('ZADD', queued, now, member)
  stand_ahead(record, id)
  return member, record
end
