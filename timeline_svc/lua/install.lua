-- Install what a rebuild read, and then what was pushed meanwhile; unless the timeline was
-- invalidated since, the rebuild took longer than its lease, or Redis may have lost what was pushed.
-- KEYS: timeline. ARGV: lineage, token, nonce, epoch, reader, ttl in ms, position, complete ('0' or '1'), floor,
-- number of followees, followees, number of entries, (score, member) each, (field, value) of the state.
local keys = keys_of(KEYS[1])
if redis.call('GET', keys.building) ~= ARGV[1] .. ARGV[2] then
  return 0
end
if (redis.call('GET', keys.epoch) or '') ~= ARGV[4] then
  redis.call('DEL', keys.building, keys.pending)
  return 0
end

local function add(command, key, first, last)
  local i = first
  while i <= last do
    local to = math.min(i + 999, last)
    redis.call(command, key, unpack(ARGV, i, to))
    i = to + 1
  end
end

redis.call('DEL', keys.zset, keys.state, keys.followees)
local followees = tonumber(ARGV[10])
redis.call('SADD', keys.followees, '0')
add('SADD', keys.followees, 11, 10 + followees)
local at = 11 + followees
local entries = tonumber(ARGV[at])
add('ZADD', keys.zset, at + 1, at + 2 * entries)
add('HSET', keys.state, at + 2 * entries + 1, #ARGV)
redis.call('HSET', keys.state, '_', ARGV[1], 'sync', ARGV[7], 'complete', ARGV[8], 'floor', ARGV[9],
  'nonempty', entries > 0 and '1' or '0')
redis.call('PEXPIRE', keys.state, ARGV[6])
local expire_at = redis.call('PEXPIRETIME', keys.state)
redis.call('PEXPIREAT', keys.followees, expire_at)
redis.call('PEXPIREAT', keys.zset, expire_at)

local pending = redis.call('LRANGE', keys.pending, 0, -1)
redis.call('DEL', keys.building, keys.pending)
for i = 1, #pending do
  apply(KEYS[1], ARGV[5], cjson.decode(pending[i]), ARGV[3])
end
return 1
