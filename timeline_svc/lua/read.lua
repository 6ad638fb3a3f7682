-- One page of a cached timeline, newest first, with what is cached of its tweets.
-- KEYS: timeline. ARGV: lineage, highest score or '+inf', the id that ends the page before or '', how many,
-- prefix of the tweets' keys or '' (then no tweets are read: they are in other slots of a cluster).
-- Returns nil when the timeline is not cached, else {lineage, sync, complete, (id, score) each, marks of each,
-- (body, counts) each}, all as Redis gave it: most of a script's time goes into making its reply.
local timeline = KEYS[1]
local state = timeline .. ':state'
local head = redis.call('HMGET', state, '_', 'sync', 'complete', 'nonempty')
if head[1] ~= ARGV[1] then
  return false -- not cached, or from before some writes were lost
end
local highest, after_id, wanted, prefix = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local places
local offset = 0
repeat
  places = redis.call('ZRANGE', timeline, highest, '-inf', 'BYSCORE', 'REV', 'LIMIT', offset, wanted, 'WITHSCORES')
  local shown = 0 -- those of the same millisecond that the page before ended with
  if after_id ~= '' then
    while places[2 * shown + 2] == highest and not id_less(places[2 * shown + 1], after_id) do
      shown = shown + 1
    end
  end
  offset = offset + shown
until shown == 0
if #places == 0 then
  if head[4] == '1' and redis.call('EXISTS', timeline) == 0 then
    redis.call('DEL', state, timeline .. ':followees') -- evicted, or its last tweet was deleted: rebuild
    return false
  end
  return { ARGV[1], head[2], head[3], {}, {}, {} }
end
local ids, tweet_keys = {}, {}
for n = 1, #places / 2 do
  local id = places[2 * n - 1]
  ids[n] = id
  if prefix ~= '' then
    local key = prefix .. '{b' .. string.sub(id, -7, -5) .. '}:' .. id -- as in buckets.py
    tweet_keys[2 * n - 1] = key
    tweet_keys[2 * n] = key .. ':counts'
  end
end
local tweets = prefix ~= '' and redis.call('MGET', unpack(tweet_keys)) or {}
return { ARGV[1], head[2], head[3], places, redis.call('HMGET', state, unpack(ids)), tweets }
