-- What is known of a reader's likes and retweets. KEYS: timeline. ARGV: lineage, ids.
-- Returns nil when the timeline is not cached, else the id from which on all are known, and the marks of each.
local state = KEYS[1] .. ':state'
local head = redis.call('HMGET', state, '_', 'floor')
if head[1] ~= ARGV[1] then
  return false
end
return { head[2], redis.call('HMGET', state, unpack(ARGV, 2)) }
