-- End a rebuild without a result. KEYS: timeline. ARGV: lineage, token.
local keys = keys_of(KEYS[1])
if redis.call('GET', keys.building) == ARGV[1] .. ARGV[2] then
  redis.call('DEL', keys.building, keys.pending)
end
return 1
