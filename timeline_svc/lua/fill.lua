-- Cache tweets as the store had them, unless Redis lost its data since they were read: then a mark of a
-- deletion may be lost too.
-- KEYS: a tweet each. ARGV: key of the generation, generation, ttl in s, as of us, (body, counts) each.
if redis.call('GET', ARGV[1]) ~= ARGV[2] then
  return 0
end
for i = 1, #KEYS do
  local body, counts = ARGV[3 + 2 * i], ARGV[4 + 2 * i]
  redis.call('SET', KEYS[i], body, 'NX', 'EX', ARGV[3])
  local key = KEYS[i] .. ':counts'
  local known = redis.call('GET', key)
  if not known or tonumber(string.match(known, '^(%d+)|')) < tonumber(ARGV[4]) then
    redis.call('SET', key, ARGV[4] .. '|' .. counts, 'EX', ARGV[3])
  end
end
return 1
