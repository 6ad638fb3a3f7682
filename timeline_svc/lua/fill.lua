-- Cache tweets as the store had them, unless Redis lost data since they were read: then a mark of a
-- deletion may be lost too.
-- KEYS: the generation, then a tweet each. ARGV: lineage, generation, ttl in s, as of us, (body, counts) each.
local lineage = ARGV[1]
if lineage .. (redis.call('GET', KEYS[1]) or '') ~= ARGV[2] then
  return 0
end
local function old(value)
  return string.sub(value, 1, #lineage) ~= lineage
end
for i = 2, #KEYS do
  local body, counts = ARGV[1 + 2 * i], ARGV[2 + 2 * i]
  local known = redis.call('GET', KEYS[i])
  if not known or (known ~= '' and old(known)) then
    redis.call('SET', KEYS[i], lineage .. body, 'EX', ARGV[3])
  end
  local key = KEYS[i] .. ':counts'
  known = redis.call('GET', key)
  if not known or old(known)
    or tonumber(string.match(known, '^(%d+)|', #lineage + 1)) < tonumber(ARGV[4]) then
    redis.call('SET', key, lineage .. ARGV[4] .. '|' .. counts, 'EX', ARGV[3])
  end
end
return 1
