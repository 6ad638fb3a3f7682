-- One page of a cached timeline, newest first, with what is cached of its tweets.
-- KEYS: timeline. ARGV: lineage, highest score or '+inf', the id that ends the page before or '', how many,
-- prefix of the tweets' keys or '' (then no tweets are read: they are in other slots of a cluster).
-- Returns nil when the timeline is not cached, else {lineage, sync, complete, whether the end was reached,
-- ids, scores, marks (t, l, r, u of each), bodies, counts (both as they are kept)}.
local keys = keys_of(KEYS[1])
local head = redis.call('HMGET', keys.state, '_', 'sync', 'complete', 'nonempty')
if head[1] ~= ARGV[1] then
  return false -- not cached, or from before some writes were lost
end
local highest, after_id, wanted, prefix = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local ids, scores, fields, bodies, counts = {}, {}, {}, {}, {}
local offset, ended = 0, 0
while #ids < wanted do
  local count = wanted - #ids
  local found = redis.call('ZRANGE', keys.zset, highest, '-inf', 'BYSCORE', 'REV', 'LIMIT', offset, count, 'WITHSCORES')
  local fresh, tweet_keys = {}, {}
  for i = 1, #found, 2 do
    local id = found[i]
    if after_id == '' or found[i + 1] ~= highest or id_less(id, after_id) then
      fresh[#fresh + 1] = i
      if prefix ~= '' then
        local key = prefix .. '{b' .. string.sub(id, -7, -5) .. '}:' .. id -- as in buckets.py
        tweet_keys[#tweet_keys + 1] = key
        tweet_keys[#tweet_keys + 1] = key .. ':counts'
      end
    end
  end
  local tweets = #tweet_keys > 0 and redis.call('MGET', unpack(tweet_keys)) or {}
  offset = offset + #found / 2
  for n, i in ipairs(fresh) do
    local id, body = found[i], tweets[2 * n - 1]
    if body == '' then -- deleted
      redis.call('ZREM', keys.zset, id)
      redis.call('HDEL', keys.state, 't' .. id, 'u' .. id)
      offset = offset - 1
    else
      ids[#ids + 1] = id
      scores[#scores + 1] = found[i + 1]
      bodies[#bodies + 1] = body or false
      counts[#counts + 1] = tweets[2 * n] or false
      fields[#fields + 1] = 't' .. id
      fields[#fields + 1] = 'l' .. id
      fields[#fields + 1] = 'r' .. id
      fields[#fields + 1] = 'u' .. id
    end
  end
  if #found < 2 * count then
    ended = 1
    break
  end
end
if #ids == 0 and head[4] == '1' and redis.call('EXISTS', keys.zset) == 0 then
  redis.call('DEL', keys.state, keys.followees) -- evicted, or its last tweet was deleted: rebuild
  return false
end
local marks = #fields > 0 and redis.call('HMGET', keys.state, unpack(fields)) or {}
return { ARGV[1], head[2], head[3], ended, ids, scores, marks, bodies, counts }
