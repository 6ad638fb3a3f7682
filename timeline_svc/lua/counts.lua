-- Set a tweet's counts unless newer ones are there.
-- KEYS: counts. ARGV: as of us, serialized counts, ttl in s.
local known = redis.call('GET', KEYS[1])
if known and tonumber(string.match(known, '^(%d+)|')) >= tonumber(ARGV[1]) then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1] .. '|' .. ARGV[2], 'EX', ARGV[3])
return 1
