-- Extends the leases a runner still owns.
-- KEYS: 1 leases
-- ARGV: 1 runner, 2 lease in ms, 3 record prefix, 4... pairs of id, generation
-- Returns: {lost lease members, members someone wants cancelled}
local until_ms = now_ms() + ARGV[2]
local lost, cancel = {}, {}
for i = 4, #ARGV, 2 do
  local member = ARGV[i] .. ' ' .. ARGV[i + 1]
  local facts = redis.call('HMGET', ARGV[3] .. ARGV[i], 'state', 'generation', 'runner', 'cancelRequested', 'parent')
  if facts[1] == 'running' and facts[2] == ARGV[i + 1] and facts[3] == ARGV[1] then
    redis.call('ZADD', KEYS[1], until_ms, member)
    if facts[4] or (facts[5] and unwanted(ARGV[3] .. ARGV[i], ARGV[i])) then cancel[#cancel + 1] = member end
  else
    lost[#lost + 1] = member
  end
end
return {lost, cancel}
