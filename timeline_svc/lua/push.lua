-- One operation to many readers.
-- KEYS: a timeline each. ARGV: nonce, JSON of the operation, then the readers' ids in KEYS' order.
local op = cjson.decode(ARGV[2])
local warm = 0
for i = 1, #KEYS do
  warm = warm + apply(KEYS[i], ARGV[2 + i], op, ARGV[1])
end
return warm
