-- Of these entries, which still stand in the outbox: nobody has claimed or cancelled them, or put them into the queue.
-- KEYS: 1 outbox
-- ARGV: queued members
-- Returns: their positions in ARGV
local standing = {}
for i, member in ipairs(ARGV) do
  if redis.call('ZSCORE', KEYS[1], member) then standing[#standing + 1] = i end
end
return standing
