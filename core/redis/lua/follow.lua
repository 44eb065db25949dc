-- A look at an invocation and at its chunks from a position on; from now on its changes are told on the channel.
-- KEYS: 1 record, 2 tail, 3 segments
-- ARGV: 1 channel, 2 generation, 3 number of the first chunk wanted, 4 bytes of chunks to answer, about
-- Returns: {state, generation, generation of the chunks or 0, how many, container or '', reason or '', due or '', batches}, or nil;
-- a batch is {first number, how many, the batch or '', bucket key or ''}
local facts = redis.call('HMGET', KEYS[1], 'yieldGeneration', 'yielded', 'tailFirst', 'tailBytes', 'followed', 'state', 'generation', 'container', 'reason', 'dueAt')
if not facts[6] then return nil end
if not facts[5] and (facts[6] == 'queued' or facts[6] == 'running') then redis.call('HSET', KEYS[1], 'followed', ARGV[1]) end

local function batch(entry)
  local fields = entry[2]
  local first = string.match(entry[1], '%-(%d+)$')
  if fields[3] == 'key' then return {first, fields[2], '', fields[4]} end
  return {first, fields[2], fields[4], ''}
end

local batches = {}
local next_, tail_first = extent(facts, ARGV[2])
local wanted = tonumber(ARGV[3])
if wanted < next_ then
  local from = wanted < tail_first and KEYS[3] or KEYS[2]
  -- Entries begin where the one before ended: the last one that begins at or before the wanted chunk holds it.
  local entry = redis.call('XREVRANGE', from, ARGV[2] .. '-' .. ARGV[3], ARGV[2] .. '-0', 'COUNT', 1)[1]
  if entry then
    batches[1] = batch(entry)
    local bytes = #batches[1][3]
    local id = entry[1]
    while from == KEYS[2] and bytes < tonumber(ARGV[4]) do
      entry = redis.call('XRANGE', from, '(' .. id, '+', 'COUNT', 1)[1]
      if not entry then break end
      batches[#batches + 1] = batch(entry)
      bytes = bytes + #batches[#batches][3]
      id = entry[1]
    end
  end
end
return {facts[6], facts[7], facts[1] or '0', facts[2] or '0', facts[8] or '', facts[9] or '', facts[10] or '', batches}
