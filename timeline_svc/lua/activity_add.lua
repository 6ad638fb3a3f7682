-- An author did something: put it before what is cached; where nothing is, or what may lack something,
-- keep others from caching what they read before it.
-- KEYS: author. ARGV: lineage, serialized entry, longest value in bytes, seconds to keep others from caching.
local lineage = ARGV[1]
local known = redis.call('GET', KEYS[1])
if not known or string.sub(known, 1, #lineage) ~= lineage or #known + #ARGV[2] > tonumber(ARGV[3]) then
  redis.call('SET', KEYS[1], '', 'EX', ARGV[4])
else
  redis.call('SET', KEYS[1], lineage .. ARGV[2] .. string.sub(known, #lineage + 1), 'KEEPTTL')
end
return 1
