-- Calls that calls make.

-- The invocation that an attempt's record belongs to: a slice's is its map.
local function invocation_of(id)
  return string.match(id, '^[^.]+')
end

-- Links a call to the running attempt that makes it: `:calls` beside the caller's record lists them, `:live` holds those that
-- have not ended. Returns what is to be answered instead of storing it: it is stored already, or that attempt has ended.
local function link(record, id, caller, generation, kept)
  if redis.call('EXISTS', record) == 1 then return {0, id} end
  if not owns(record_of(record, id, caller), generation) then return {2} end
  local from = record_of(record, id, invocation_of(caller))
  redis.call('SADD', from .. ':live', id)
  if redis.call('RPUSH', from .. ':calls', id) == 1 then redis.call('HSET', from, 'calls', 1) end
  redis.call('LTRIM', from .. ':calls', -kept, -1)
end

-- Nobody wants it any more: its caller was cancelled, or waited for it in an attempt that has ended.
local function orphaned(record, id)
  local facts = redis.call('HMGET', record, 'parent', 'parentGeneration', 'awaited')
  if not facts[1] then return false end
  if redis.call('HGET', record_of(record, id, invocation_of(facts[1])), 'state') == 'cancelled' then return true end
  return facts[3] and not owns(record_of(record, id, facts[1]), facts[2])
end

-- The same, of what is claimed or runs: the map of a slice that nobody wants is to end too.
local function unwanted(record, id)
  if not orphaned(record, id) then return false end
  local map = map_of(record)
  if map then redis.call('HSET', map, 'cancelRequested', 1, 'sealed', 1) end
  return true
end
