-- Set a tweet's counts unless newer ones are there.
-- KEYS: counts. ARGV: lineage, as of us, serialized counts, ttl in s.
local lineage = ARGV[1]
local known = redis.call('GET', KEYS[1])
if known and string.sub(known, 1, #lineage) == lineage
  and tonumber(string.match(known, '^(%d+)|', #lineage + 1)) >= tonumber(ARGV[2]) then
  return 0
end
redis.call('SET', KEYS[1], lineage .. ARGV[2] .. '|' .. ARGV[3], 'EX', ARGV[4])
return 1
