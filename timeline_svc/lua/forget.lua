-- Take deleted tweets out of a timeline. KEYS: timeline. ARGV: their ids.
local keys = keys_of(KEYS[1])
for i = 1, #ARGV do
  redis.call('ZREM', keys.zset, ARGV[i])
  redis.call('HDEL', keys.state, 't' .. ARGV[i], 'u' .. ARGV[i])
end
return 1
