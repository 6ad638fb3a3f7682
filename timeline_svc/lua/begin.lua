-- Begin a rebuild, unless the timeline is there or somebody else is at it.
-- KEYS: timeline. ARGV: token, lease in ms. Returns {'warm'}, {'wait'} or {'build', epoch}.
local keys = keys_of(KEYS[1])
if redis.call('HEXISTS', keys.state, '_') == 1 then
  return { 'warm' }
end
if not redis.call('SET', keys.building, ARGV[1], 'NX', 'PX', ARGV[2]) then
  return { 'wait' }
end
redis.call('DEL', keys.pending)
return { 'build', redis.call('GET', keys.epoch) or '' }
