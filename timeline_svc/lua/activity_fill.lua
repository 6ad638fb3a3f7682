-- Cache authors' activity as the store had it, unless Redis lost data since it was read. What is there
-- stands: it is newer, or marks a change that the reader of the store may not have seen.
-- KEYS: the generation, then an author each. ARGV: lineage, generation, ttl in s, then an activity each.
local lineage = ARGV[1]
if lineage .. (redis.call('GET', KEYS[1]) or '') ~= ARGV[2] then
  return 0
end
for i = 2, #KEYS do
  local known = redis.call('GET', KEYS[i])
  if not known or (known ~= '' and string.sub(known, 1, #lineage) ~= lineage) then
    redis.call('SET', KEYS[i], lineage .. ARGV[2 + i], 'EX', ARGV[3])
  end
end
return 1
