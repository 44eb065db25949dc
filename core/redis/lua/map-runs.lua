-- Is any slice of a map with a runner?
-- KEYS: 1 map
for _, n in ipairs(redis.call('SMEMBERS', KEYS[1] .. ':open')) do
  if redis.call('HGET', KEYS[1] .. '.' .. n, 'state') == 'running' then return 1 end
end
return 0
