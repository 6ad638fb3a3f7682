-- An author did something: put it before what is cached; where nothing is, keep others from caching what
-- they read before it.
-- KEYS: author. ARGV: serialized entry, longest value in bytes, seconds to keep others from caching.
local known = redis.call('GET', KEYS[1])
if not known or known == '' or #known + #ARGV[1] > tonumber(ARGV[2]) then
  redis.call('SET', KEYS[1], '', 'EX', ARGV[3])
else
  redis.call('SET', KEYS[1], ARGV[1] .. known, 'KEEPTTL')
end
return 1
