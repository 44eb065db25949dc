-- Apps whose next segment is closed: its oldest line is old enough, or there are enough lines.
-- KEYS: 1 apps with lines to archive (score: since when)
-- ARGV: 1 prefix of the logs' facts, 2 age in ms, 3 lines, 4 max apps
local due = {}
local now = now_ms()
local open = redis.call('ZRANGE', KEYS[1], 0, ARGV[4] - 1, 'WITHSCORES')
for i = 1, #open, 2 do
  local facts = redis.call('HMGET', ARGV[1] .. open[i], 'last', 'archived')
  local waiting = tonumber(facts[1] or 0) - tonumber(facts[2] or 0)
  if now - open[i + 1] >= tonumber(ARGV[2]) or waiting >= tonumber(ARGV[3]) then due[#due + 1] = open[i] end
end
return due
