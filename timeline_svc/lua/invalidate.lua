-- KEYS: timeline. ARGV: nonce.
drop(keys_of(KEYS[1]), ARGV[1])
return 1
