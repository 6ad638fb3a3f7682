-- Take deleted tweets out of a timeline. KEYS: timeline. ARGV: their ids.
for i = 1, #ARGV do
  redis.call('ZREM', KEYS[1], ARGV[i])
  left(KEYS[1] .. ':state', ARGV[i])
end
return 1
