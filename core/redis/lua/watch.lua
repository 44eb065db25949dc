-- Registers a waiter on a record that has not ended, and reads it.
-- KEYS: 1 record
-- ARGV: 1 waiter
local facts = redis.call('HMGET', KEYS[1], 'state', 'waiters')
if facts[1] == 'queued' or facts[1] == 'running' then
  local waiters = facts[2] or ''
  if not string.find(' ' .. waiters .. ' ', ' ' .. ARGV[1] .. ' ', 1, true) then
    redis.call('HSET', KEYS[1], 'waiters', waiters == '' and ARGV[1] or (waiters .. ' ' .. ARGV[1]))
  end
end
return redis.call('HGETALL', KEYS[1])
