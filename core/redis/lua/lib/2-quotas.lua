-- Quotas of tokens, as core/quota.ts writes them: "<token> <ms for each> <how many at once> <how many that have not ended>", 0 for no limit.

-- Takes `wanted` of a bucket that gets one every `each` ms and holds `burst`; `full` is when it would be full. Answers when it will
-- be full after that, or nil and the ms until it holds as many.
local function draw(full, now, each, burst, wanted)
  full = math.max(full, now)
  local lacks = wanted - (burst - (full - now) / each)
  if lacks > 0.000001 then return nil, math.max(1, math.ceil(lacks * each - 0.000001)) end
  return full + wanted * each
end

-- The calls of a token, inputs of maps among them, that were accepted and have not ended.
local function open_of(record, id, token)
  return beside(record, id, 'quota:open:' .. token)
end

-- Charges the rate of a quota. Answers what is to be answered instead, and nothing where there is room.
local function charge_rate(record, id, quota, wanted)
  local token, each, burst = string.match(quota, '^(%S+) (%S+) (%S+)')
  each = tonumber(each)
  if each == 0 then return end
  local bucket, now = beside(record, id, 'quota:rate:' .. token), now_ms()
  local full, ms = draw(tonumber(redis.call('HGET', bucket, 'full') or 0), now, each, tonumber(burst), wanted)
  if not full then return {4, 'rate', ms} end
  redis.call('HSET', bucket, 'full', string.format('%.3f', full))
  redis.call('PEXPIRE', bucket, math.ceil(full - now) + 1000)
end

-- Whether the token may have so many more that have not ended: answers what is to be answered instead, and nothing where it may.
local function check_open(record, id, quota, wanted)
  local token, most = string.match(quota, '^(%S+) %S+ %S+ (%d+)$')
  if most == '0' then return end
  local open = tonumber(redis.call('GET', open_of(record, id, token)) or 0)
  if open + wanted > tonumber(most) then return {4, 'open', open} end
end

-- Counts what was accepted, until it ends. The record says whose it is.
local function count_open(record, id, quota, count)
  if string.match(quota, '%d+$') == '0' then return end
  redis.call('INCRBY', open_of(record, id, string.match(quota, '^%S+')), count)
end

-- So many of them have ended.
local function leave_quota(record, id, quota, count)
  local open = open_of(record, id, string.match(quota, '^%S+'))
  if redis.call('DECRBY', open, count) <= 0 then redis.call('DEL', open) end
end
