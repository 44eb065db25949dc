-- Makes an invocation the live writer of a series; the holder keeps it until its record ends.
-- KEYS: 1 series hold
-- ARGV: 1 invocation id, 2 generation, 3 record prefix
-- Returns: '' when taken, else the other live writer's id
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  local state = redis.call('HGET', ARGV[3] .. holder, 'state')
  if state == 'running' or state == 'queued' then return holder end
end
if not owns(ARGV[3] .. ARGV[1], ARGV[2]) then return '(this attempt has lost its lease)' end
redis.call('SET', KEYS[1], ARGV[1], 'EX', 2592000)
return ''
