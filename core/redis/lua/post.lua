-- Puts letters into a node's box, and tells its runner.
-- KEYS: 1 box (stream)
-- ARGV: 1 channel, 2 most letters, 3 milliseconds they are kept after the last one, 4... letters
-- Returns: 1, or 0 when the box is full
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
for i = 4, #ARGV do redis.call('XADD', KEYS[1], '*', 'm', ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PUBLISH', ARGV[1], '')
return 1
