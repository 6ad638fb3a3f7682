-- Write flags that the store was asked for; a change that came in since is newer and stands.
-- KEYS: timeline. ARGV: (tweet id, liked at us, retweeted at us) each; 0 is not.
local state = KEYS[1] .. ':state'
for i = 1, #ARGV, 3 do
  local liked, retweeted, unknown, bringer = marks_of(state, ARGV[i])
  if unknown == '1' then
    set_marks(state, ARGV[i], later(liked, ARGV[i + 1]), later(retweeted, ARGV[i + 2]), '0', bringer)
  end
end
return 1
