-- Writes facts about an attempt that is still the current one.
-- KEYS: 1 record
-- ARGV: 1 generation, 2... fields
local facts = redis.call('HMGET', KEYS[1], 'state', 'generation')
if not facts[1] or facts[2] ~= ARGV[1] or (facts[1] ~= 'queued' and facts[1] ~= 'running') then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
return 1
