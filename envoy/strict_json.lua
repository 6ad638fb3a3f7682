-- Reads JSON strictly, as RFC 8259 says and no reader is kinder: in one pass, without recursion.
-- What is wrong comes back as a phrase and the position of the byte where it shows.

local byte, char, find, match, sub = string.byte, string.char, string.find, string.match, string.sub

local MAX_DEPTH = 64
local QUOTE, BACKSLASH, COMMA, COLON = byte('"\\,:', 1, 4)
local OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET = byte("{}[]", 1, 4)
local SHORT_ESCAPES = {
  ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t",
}

-- How long the character of UTF-8 is that begins at `at` with a byte above 127; nil if it is none.
local function utf8_length(text, at)
  local first, second, third, fourth = byte(text, at, at + 3)
  local least, most, length = 0x80, 0xBF, 2
  if first < 0xC2 or first > 0xF4 then
    return nil
  elseif first >= 0xF0 then
    length = 4
    if first == 0xF0 then least = 0x90 elseif first == 0xF4 then most = 0x8F end
  elseif first >= 0xE0 then
    length = 3
    if first == 0xE0 then least = 0xA0 elseif first == 0xED then most = 0x9F end
  end
  if not second or second < least or second > most then
    return nil
  end
  if length > 2 and (not third or third < 0x80 or third > 0xBF) then
    return nil
  end
  if length > 3 and (not fourth or fourth < 0x80 or fourth > 0xBF) then
    return nil
  end
  return length
end

-- Where `text` stops being UTF-8; nil if it does not.
local function not_utf8(text)
  local at = find(text, "[\128-\255]")
  while at do
    local length = utf8_length(text, at)
    if not length then
      return at
    end
    at = at + length
    local following = byte(text, at)
    if not following then
      return nil
    elseif following < 128 then
      at = find(text, "[\128-\255]", at)
    end
  end
end

local function utf8_char(code)
  if code < 0x80 then
    return char(code)
  elseif code < 0x800 then
    return char(0xC0 + math.floor(code / 0x40), 0x80 + code % 0x40)
  elseif code < 0x10000 then
    return char(
      0xE0 + math.floor(code / 0x1000), 0x80 + math.floor(code / 0x40) % 0x40, 0x80 + code % 0x40
    )
  end
  return char(
    0xF0 + math.floor(code / 0x40000),
    0x80 + math.floor(code / 0x1000) % 0x40,
    0x80 + math.floor(code / 0x40) % 0x40,
    0x80 + code % 0x40
  )
end

local function after_space(text, at)
  return match(text, "^[ \t\n\r]*()", at)
end

-- Where the UTF-16 unit's escape that begins at `at` ends, with its surrogate's other half.
local function after_unit(text, at)
  local unit = tonumber(match(text, "^%x%x%x%x", at + 2) or "", 16)
  if not unit then
    return nil, "this escape is not JSON", at
  elseif unit < 0xD800 or unit > 0xDFFF then
    return at + 6
  end
  local low = unit < 0xDC00 and match(text, "^\\u[dD][c-fC-F]%x%x()", at + 6)
  if not low then
    return nil, "half of a character (a lone surrogate) is escaped", at
  end
  return low
end

-- Where the string ends that begins at `at` with its quote.
local function after_string(text, at)
  local start = at
  at = at + 1
  while true do
    at = find(text, '[%z\1-\31"\\]', at)
    local found = at and byte(text, at)
    if not found then
      return nil, "a text without its closing quote begins", start
    elseif found == QUOTE then
      return at + 1
    elseif found ~= BACKSLASH then
      return nil, "a control character that is not escaped stands", at
    end
    local escaped = sub(text, at + 1, at + 1)
    if escaped == "u" then
      local after, why, where = after_unit(text, at)
      if not after then
        return nil, why, where
      end
      at = after
    elseif SHORT_ESCAPES[escaped] then
      at = at + 2
    else
      return nil, "this escape is not JSON", at
    end
  end
end

-- Where the number, true, false or null ends that begins at `at`.
local function after_word(text, at)
  local after = match(text, "^-?[1-9]%d*()", at) or match(text, "^-?0()", at)
  if after then
    after = match(text, "^%.%d+()", after) or after
    return match(text, "^[eE][+-]?%d+()", after) or after
  end
  after = match(text, "^true()", at) or match(text, "^false()", at) or match(text, "^null()", at)
  if not after then
    return nil, "a value is missing or misspelt", at
  end
  return after
end

-- Where the value begins whose name begins at `at`, and the name's last quote.
local function after_name(text, at)
  if byte(text, at) ~= QUOTE then
    return nil, "a name in double quotes is missing", at
  end
  local quote, why, where = after_string(text, at)
  if not quote then
    return nil, why, where
  end
  local colon = after_space(text, quote)
  if byte(text, colon) ~= COLON then
    return nil, '":" is missing', colon
  end
  return after_space(text, colon + 1), quote - 1
end

-- Where the value ends that begins at `at`, with whatever it holds.
local function after_value(text, at)
  local closers, depth = {}, 0
  while true do
    local first, why, where = byte(text, at), nil, nil
    local is_complete = true
    if first == OPEN_BRACE or first == OPEN_BRACKET then
      if depth + 1 >= MAX_DEPTH then
        return nil, "more than " .. MAX_DEPTH .. " levels are nested", at
      end
      local closer = first == OPEN_BRACE and CLOSE_BRACE or CLOSE_BRACKET
      at = after_space(text, at + 1)
      if byte(text, at) == closer then
        at = at + 1
      else
        depth = depth + 1
        closers[depth] = closer
        is_complete = false
        if closer == CLOSE_BRACE then
          at, why, where = after_name(text, at)
        end
      end
    elseif first == QUOTE then
      at, why, where = after_string(text, at)
    else
      at, why, where = after_word(text, at)
    end
    if not at then
      return nil, why, where
    end
    while is_complete do
      if depth == 0 then
        return at
      end
      at = after_space(text, at)
      local following = byte(text, at)
      if following == closers[depth] then
        depth = depth - 1
        at = at + 1
      elseif following == COMMA then
        at = after_space(text, at + 1)
        if closers[depth] == CLOSE_BRACE then
          at, why, where = after_name(text, at)
          if not at then
            return nil, why, where
          end
        end
        is_complete = false
      else
        return nil, '"," or "' .. char(closers[depth]) .. '" is missing', at
      end
    end
  end
end

-- What a string of valid JSON says; `first` and `last` are its quotes.
local function unescaped(text, first, last)
  text = sub(text, first + 1, last - 1)
  local at = find(text, "\\", 1, true)
  if not at then
    return text
  end
  local parts, from = {}, 1
  while at do
    parts[#parts + 1] = sub(text, from, at - 1)
    local escaped = sub(text, at + 1, at + 1)
    if escaped == "u" then
      local code = tonumber(sub(text, at + 2, at + 5), 16)
      from = at + 6
      if code >= 0xD800 and code <= 0xDFFF then
        local low = tonumber(sub(text, at + 8, at + 11), 16)
        code = 0x10000 + (code - 0xD800) * 0x400 + low - 0xDC00
        from = at + 12
      end
      parts[#parts + 1] = utf8_char(code)
    else
      parts[#parts + 1] = SHORT_ESCAPES[escaped]
      from = at + 2
    end
    at = find(text, "\\", from, true)
  end
  parts[#parts + 1] = sub(text, from)
  return table.concat(parts)
end

-- The members of the object that `text` is, in their order, each with its `name` and with the
-- positions of its name (`at`) and of the `first` and `last` byte of its value. Names may repeat.
local function read_object(text)
  local at = after_space(text, 1)
  if byte(text, at) ~= OPEN_BRACE then
    return nil, "an object in braces is expected", at
  end
  local members = {}
  at = after_space(text, at + 1)
  local is_open = byte(text, at) ~= CLOSE_BRACE
  while is_open do
    local first, last_quote, where = after_name(text, at)
    if not first then
      return nil, last_quote, where
    end
    local after, why
    after, why, where = after_value(text, first)
    if not after then
      return nil, why, where
    end
    members[#members + 1] =
      { name = unescaped(text, at, last_quote), at = at, first = first, last = after - 1 }
    at = after_space(text, after)
    is_open = byte(text, at) == COMMA
    if is_open then
      at = after_space(text, at + 1)
    elseif byte(text, at) ~= CLOSE_BRACE then
      return nil, '"," or "}" is missing', at
    end
  end
  at = after_space(text, at + 1)
  if at <= #text then
    return nil, "something follows the end", at
  end
  return members
end

-- Of the valid array that begins at `at`: the index of the first element that is no string, from 0.
local function first_that_is_no_string(text, at)
  local index = 0
  at = after_space(text, at + 1)
  while byte(text, at) ~= CLOSE_BRACKET do
    if byte(text, at) ~= QUOTE then
      return index
    end
    at = after_space(text, after_string(text, at))
    if byte(text, at) == COMMA then
      at = after_space(text, at + 1)
    end
    index = index + 1
  end
end

-- A position as people say it: lines and characters from 1.
local function place(text, at)
  local before = sub(text, 1, at - 1)
  local _, lines = string.gsub(before, "\n", "")
  local _, characters = string.gsub(match(before, "[^\n]*$"), "[^\128-\191]", "")
  return "at line " .. lines + 1 .. ", character " .. characters + 1
end

-- `text` as a JSON string, quotes and all; it must be UTF-8.
local function json_string(text)
  local escaped = string.gsub(text, '[%z\1-\31\127"\\]', function(found)
    return (found == '"' or found == "\\") and "\\" .. found
      or string.format("\\u%04x", byte(found))
  end)
  return '"' .. escaped .. '"'
end
