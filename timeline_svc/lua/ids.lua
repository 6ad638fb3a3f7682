-- Ids are decimal strings: a double cannot hold them.
local function id_less(a, b)
  if #a ~= #b then
    return #a < #b
  end
  return a < b
end
