-- The slice of a map that holds an input without an outcome.
-- KEYS: 1 map
-- ARGV: 1 index of the input
-- Returns: its id, or nil
local index = tonumber(ARGV[1])
for _, n in ipairs(redis.call('SMEMBERS', KEYS[1] .. ':open')) do
  local record = KEYS[1] .. '.' .. n
  local slice = redis.call('HMGET', record, 'first', 'count')
  if slice[1] and tonumber(slice[1]) <= index and index < slice[1] + slice[2] then return string.match(record, '[^:]*$') end
end
