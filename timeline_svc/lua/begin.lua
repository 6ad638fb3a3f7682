-- Begin a rebuild, unless the timeline is there or somebody else is at it.
-- KEYS: timeline. ARGV: lineage, token, lease in ms. Returns {'warm'}, {'wait'} or {'build', epoch}.
local keys = keys_of(KEYS[1])
local lineage = ARGV[1]
local cached = redis.call('HGET', keys.state, '_')
if cached == lineage then
  return { 'warm' }
end
local building = redis.call('GET', keys.building)
if building and string.sub(building, 1, #lineage) == lineage then
  return { 'wait' }
end
if cached then
  redis.call('DEL', keys.zset, keys.state, keys.followees) -- pushes go to the rebuild from here on
end
redis.call('SET', keys.building, lineage .. ARGV[2], 'PX', ARGV[3])
redis.call('DEL', keys.pending)
return { 'build', redis.call('GET', keys.epoch) or '' }
