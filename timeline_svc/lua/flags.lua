-- Write flags that the store was asked for; a change that came in since is newer and stands.
-- KEYS: timeline. ARGV: (tweet id, liked at us, retweeted at us) each; 0 is not.
local keys = keys_of(KEYS[1])
for i = 1, #ARGV, 3 do
  if redis.call('HDEL', keys.state, 'u' .. ARGV[i]) == 1 then
    set_flag(keys, ARGV[i], 'l', ARGV[i + 1])
    set_flag(keys, ARGV[i], 'r', ARGV[i + 2])
  end
end
return 1
