-- Cache authors' activity as the store had it, unless Redis lost its data since it was read. What is
-- there stands: it is newer, or marks a change that the reader of the store may not have seen.
-- KEYS: an author each. ARGV: key of the generation, generation, ttl in s, then an activity each.
if redis.call('GET', ARGV[1]) ~= ARGV[2] then
  return 0
end
for i = 1, #KEYS do
  redis.call('SET', KEYS[i], ARGV[3 + i], 'NX', 'EX', ARGV[3])
end
return 1
