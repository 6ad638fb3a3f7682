-- Many operations to one reader, and the place in the celebrity log that they reach to.
-- KEYS: timeline. ARGV: nonce, reader, position, then JSON of an operation each.
local keys = keys_of(KEYS[1])
for i = 4, #ARGV do
  if apply(KEYS[1], ARGV[2], cjson.decode(ARGV[i]), ARGV[1]) == 0 then
    return 0
  end
end
local sync = redis.call('HGET', keys.state, 'sync')
if not sync then
  return 0
end
if tonumber(sync) < tonumber(ARGV[3]) then
  redis.call('HSET', keys.state, 'sync', ARGV[3])
end
return 1
