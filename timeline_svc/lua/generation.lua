-- The present generation, begun if there is none. KEYS: generation. ARGV: lineage, a value never used before.
local known = redis.call('GET', KEYS[1])
if not known then
  known = ARGV[2]
  redis.call('SET', KEYS[1], known)
end
return ARGV[1] .. known
