-- How records end: calls, slices and the maps they belong to.

local close

-- Ends a map that has all its inputs and all their outcomes.
local function end_map(map, now, ttl, done_channel)
  local facts = redis.call('HMGET', map, 'state', 'sealed', 'total', 'done', 'failed', 'cancelRequested')
  if (facts[1] ~= 'queued' and facts[1] ~= 'running') or not facts[2] or tonumber(facts[4]) < tonumber(facts[3]) then return end
  ttl = redis.call('HGET', map, 'ttl') or ttl
  for _, page in ipairs(redis.call('HKEYS', map .. ':left')) do redis.call('EXPIRE', map .. ':page:' .. page, ttl) end
  for _, name in ipairs({':left', ':blocks', ':open'}) do redis.call('EXPIRE', map .. name, ttl) end
  local id = string.match(map, '[^:]*$')
  redis.call('ZREM', beside(map, id, 'feeding'), id)
  if facts[6] then
    close(map, id, 'cancelled', now, ttl, done_channel,
      {'error', cjson.encode({code = 'cancelled', message = 'The invocation was cancelled.', retryable = false, fault = 'user'})})
  elseif tonumber(facts[5]) > 0 then
    close(map, id, 'failed', now, ttl, done_channel, {'error', cjson.encode({code = 'inputs_failed',
      message = facts[5] .. ' of ' .. facts[3] .. ' inputs failed; the results tell which, and why.', retryable = false, fault = 'user'})})
  else
    local result = '{"inputs":' .. facts[3] .. '}'
    close(map, id, 'succeeded', now, ttl, done_channel, {'resultEncoding', 'json', 'resultSize', #result, 'result', result})
  end
end

-- Counts the outcomes of a slice's inputs in. Only what succeeded lets its page go: the others may be run again by hand.
local function count_outcomes(map, page, succeeded, failed)
  redis.call('HINCRBY', map, 'done', succeeded + failed)
  local quota = redis.call('HGET', map, 'quota')
  if quota then leave_quota(map, string.match(map, '[^:]*$'), quota, succeeded + failed) end
  if failed > 0 then redis.call('HINCRBY', map, 'failed', failed) end
  if succeeded == 0 or redis.call('HINCRBY', map .. ':left', page, -succeeded) > 0 then return end
  redis.call('HINCRBY', map, 'inlineBytes', -redis.call('STRLEN', map .. ':page:' .. page))
  redis.call('DEL', map .. ':page:' .. page)
  redis.call('HDEL', map .. ':left', page)
end

-- A block whose inputs all ended with one error.
local function error_block(first, count, error)
  return '{"first":' .. first .. ',"count":' .. count .. ',"error":' .. error .. '}\n'
end

-- Forgets a slice, and tells who reads the map's results.
local function end_slice(map, record, now, ttl, done_channel)
  free_key(record, string.match(record, '[^:]*$'))
  redis.call('DEL', record)
  redis.call('SREM', map .. ':open', string.match(record, '%d+$'))
  end_map(map, now, ttl, done_channel)
  redis.call('PUBLISH', string.gsub(done_channel, 'done:$', 'map:') .. string.match(map, '[^:]*$'), '')
end

-- What failed is listed until its record expires, by when it failed; `expires` is there to take it out again.
local function list_failed(record, id, now, ttl)
  local names = redis.call('HMGET', record, 'app', 'fn')
  local failed, expires = beside(record, id, 'failed'), beside(record, id, 'failed-expires')
  local member = names[1] .. '/' .. names[2] .. ' ' .. id
  redis.call('ZADD', failed, now, member)
  redis.call('ZADD', expires, now + ttl * 1000, member)
  local gone = redis.call('ZRANGEBYSCORE', expires, '-inf', now, 'LIMIT', 0, 100)
  if #gone > 0 then
    redis.call('ZREM', failed, unpack(gone))
    redis.call('ZREM', expires, unpack(gone))
  end
end

-- Moves a record to a terminal state and tells whoever waits, with the record itself. `fields` is a flat list. A slice that
-- ends this way (cancelled, lost too often) leaves its error to all its inputs.
function close(record, id, state, now, ttl, done_channel, fields)
  local map = map_of(record)
  if map then
    local slice = redis.call('HMGET', record, 'first', 'count', 'page')
    redis.call('RPUSH', map .. ':blocks', error_block(slice[1], slice[2], fields[2]))
    count_outcomes(map, slice[3], 0, tonumber(slice[2]))
    return end_slice(map, record, now, ttl, done_channel)
  end
  redis.call('HSET', record, 'state', state, 'finishedAt', now, unpack(fields))
  redis.call('HDEL', record, 'reason')
  local facts, told = read_to_tell(record)
  if facts.keyLimit then free_key(record, id) end
  -- A map's inputs have left one by one.
  if facts.quota and not facts.total then leave_quota(record, id, facts.quota, 1) end
  ttl = tonumber(facts.ttl or ttl)
  if state == 'failed' then list_failed(record, id, now, ttl) end
  if facts.webhook then
    -- As long as it may take to deliver.
    ttl = math.max(ttl, 8 * 3600)
    redis.call('ZADD', beside(record, id, 'webhooks'), now, id)
    redis.call('PUBLISH', beside(record, id, 'webhooks'), '')
  end
  redis.call('EXPIRE', record, ttl)
  local gone = now + ttl * 1000
  if facts.yielded or facts.inBucket or facts.resultKey then redis.call('ZADD', beside(record, id, 'expiring'), gone, id) end
  if facts.inputFrom then redis.call('ZADD', beside(record, id, 'expiring'), gone, facts.inputFrom) end
  if facts.yielded then
    redis.call('EXPIRE', record .. ':tail', ttl)
    redis.call('EXPIRE', record .. ':segments', ttl)
  end
  if facts.parent then redis.call('SREM', record_of(record, id, invocation_of(facts.parent)) .. ':live', id) end
  if facts.calls then
    redis.call('EXPIRE', record .. ':calls', ttl)
    redis.call('EXPIRE', record .. ':live', ttl)
  end
  tell_followers(facts.followed)
  if facts.waiters then
    local message = id .. ' ' .. cmsgpack.pack(told)
    for waiter in string.gmatch(facts.waiters, '%S+') do redis.call('PUBLISH', done_channel .. waiter, message) end
  end
end
