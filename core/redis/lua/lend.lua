-- Notes what everything inside containers waits for, which lends their place; an empty list takes it back.
-- KEYS: 1 bookings of the node
-- ARGV: pairs of container, JSON list of lines
for i = 1, #ARGV, 2 do
  local text = redis.call('HGET', KEYS[1], ARGV[i])
  if text then
    local booking = cjson.decode(text)
    booking.waits = ARGV[i + 1] ~= '[]' and cjson.decode(ARGV[i + 1]) or nil
    redis.call('HSET', KEYS[1], ARGV[i], cjson.encode(booking))
  end
end
return 1
