-- Reads a call's request before the transcoder does, and refuses what is not exactly a request of
-- this API. CALLS, IDENTITY and the answers are rendered from the descriptor by `requests.py`, which
-- says what they hold; `strict_json.lua` stands before this.

local concat, gmatch, gsub = table.concat, string.gmatch, string.gsub

local SUBJECT = "x-starling-user-id"
local LONGEST_NAME = 64

-- From a list of fields to a table by name, in both spellings.
local function by_name(fields)
  local found = {}
  for i = 1, #fields do
    found[fields[i].name] = fields[i]
    found[fields[i].json_name] = fields[i]
  end
  return found
end

for _, call in pairs(CALLS) do
  call.query = by_name(call.query)
  call.body = call.body and by_name(call.body)
end

-- Ends the request: `respond` does not return.
local function refuse(handle, status, body)
  handle:respond({ [":status"] = status, ["content-type"] = "application/json" }, body)
end

local function refuse_field(handle, field, message)
  local said = { field = json_string(field), message = json_string(message) }
  refuse(handle, "400", (gsub(MALFORMED, '"@(%l+)@"', said)))
end

-- A client's own words are repeated only if they are short, and text.
local function quotable(name)
  return #name <= LONGEST_NAME and not not_utf8(name)
end

local function refuse_token(handle)
  local headers = handle:headers()
  local url = "https://" .. (headers:get(":authority") or "") .. (headers:get(":path") or "")
  handle:respond({
    [":status"] = "401",
    ["content-type"] = "application/json",
    ["www-authenticate"] = 'Bearer realm="' .. gsub(url, '["\\]', "") .. '", error="invalid_token"',
  }, UNAUTHENTICATED)
end

-- Envoy has verified the token it found in the header: here the header is that token and no more. The
-- last of a signature's 86 characters has only 2 bits that say anything.
local function is_one_token(authorization)
  local signature_at =
    match(authorization, "^[Bb][Ee][Aa][Rr][Ee][Rr] [%w_-]+%.[%w_-]+%.()[%w_-]+[AQgw]$")
  return signature_at and #authorization - signature_at == 85
end

-- Whoever the field names must be the caller: for a call with a token, wherever the field stands.
local function require_self(handle, field, given)
  if given ~= handle:headers():get(SUBJECT) then
    refuse(handle, "403", (gsub(MISMATCH, "@field@", field)))
  end
end

local function percent_decoded(text)
  if not find(text, "%", 1, true) then
    return text
  end
  if find(gsub(text, "%%%x%x", ""), "%", 1, true) then
    return nil
  end
  return (gsub(text, "%%(%x%x)", function(digits)
    return char(tonumber(digits, 16))
  end))
end

-- Whether `text` is decimal digits for a number up to `most`.
local function is_whole(text, most)
  local digits = match(text, "^0*(%d+)$")
  return digits and (#digits < #most or (#digits == #most and digits <= most))
end

-- Checks a value of the path or the query, as it stands there.
local function require_readable(handle, field, raw)
  local value = percent_decoded(raw)
  if field.most then
    if not value or not is_whole(value, field.most) then
      refuse_field(handle, field.name, field.expected)
    end
  elseif not value then
    refuse_field(handle, field.name, field.name .. ' has a "%" that two hexadecimal digits do not follow')
  elseif not_utf8(value) then
    refuse_field(handle, field.name, field.name .. " must be UTF-8 text")
  end
end

local function check_path(handle, call, path)
  for i = 1, #call.paths do
    local values = { match(path, call.paths[i]) }
    for j = 1, #values do
      require_readable(handle, call.variables[j], values[j])
    end
  end
end

local function refuse_parameter(handle, call, name)
  for i = 1, #call.variables do
    if name == call.variables[i].name or name == call.variables[i].json_name then
      name = call.variables[i].name
      refuse_field(handle, name, name .. " is named by the path and must not be in the query")
    end
  end
  if not name or not quotable(name) then
    refuse_field(handle, "query", "the query is not name=value with names of this call")
  end
  refuse_field(handle, name, "unknown query parameter " .. name)
end

-- The query without the caller's own identity; nil if that was not there.
local function check_query(handle, call, query)
  local kept, seen, is_changed = {}, {}, false
  for part in gmatch(query, "[^&]+") do
    local equals = find(part, "=", 1, true)
    local name = percent_decoded(sub(part, 1, (equals or 0) - 1))
    local value = equals and sub(part, equals + 1) or ""
    local identity = not call.is_open and IDENTITY[name]
    if identity then
      require_self(handle, identity, percent_decoded(value) or "")
      is_changed = true
    else
      local field = call.query[name]
      if not field then
        refuse_parameter(handle, call, name)
      elseif seen[field] then
        refuse_field(handle, field.name, field.name .. " is given twice")
      elseif not equals then
        refuse_field(handle, field.name, field.name .. ' has no value: "=" is missing')
      end
      require_readable(handle, field, value)
      seen[field] = true
      kept[#kept + 1] = part
    end
  end
  return is_changed and concat(kept, "&") or nil
end

local function refuse_body(handle, text, why, at)
  refuse_field(handle, "body", "the body is not JSON as it must be: " .. why .. " " .. place(text, at))
end

-- The body of only the fields that the call takes, as the transcoder is to read it.
local function read_body(handle, call, text)
  local wrong_at = not_utf8(text)
  if wrong_at then
    refuse_body(handle, text, "bytes that are not UTF-8 stand", wrong_at)
  end
  local members, why, at = read_object(text)
  if not members then
    refuse_body(handle, text, why, at)
  end
  local kept, seen = {}, {}
  for i = 1, #members do
    local member = members[i]
    local name, first = member.name, byte(text, member.first)
    local field = call.body[name]
    if seen[name] or (field and seen[field]) then
      local message = json_string(name) .. " is given twice, the second time " .. place(text, member.at)
      refuse_field(handle, quotable(name) and name or "body", quotable(name) and message or
        "a name is given twice, the second time " .. place(text, member.at))
    end
    seen[name] = true
    if field then
      seen[field] = true
    end
    local identity = not call.is_open and IDENTITY[name]
    local raw = sub(text, member.first, member.last)
    if raw == "null" then
      -- As if it were not there.
    elseif identity then
      local given = first == QUOTE and unescaped(text, member.first, member.last) or raw
      require_self(handle, identity, given)
    elseif field then
      if field.is_list and first == OPEN_BRACKET then
        local index = first_that_is_no_string(text, member.first)
        if index then
          local element = field.name .. "[" .. index .. "]"
          refuse_field(handle, element, element .. " must be text")
        end
      elseif field.is_list or first ~= QUOTE then
        refuse_field(handle, field.name, field.expected)
      end
      kept[#kept + 1] = '"' .. field.name .. '":' .. raw
    end
  end
  return call.takes_body and "{" .. concat(kept, ",") .. "}" or ""
end

local function read_request(handle, call)
  local headers = handle:headers()
  if not call.is_open and not is_one_token(headers:get("authorization") or "") then
    refuse_token(handle)
  end
  local path = headers:get(":path")
  local question = find(path, "?", 1, true)
  if call.variables[1] then
    check_path(handle, call, question and sub(path, 1, question - 1) or path)
  end
  if question then
    local query = check_query(handle, call, sub(path, question + 1))
    if query then
      headers:replace(":path", sub(path, 1, question - 1) .. (query ~= "" and "?" .. query or ""))
    end
  end
  local body = call.body and handle:body()
  local length = body and body:length() or 0
  if length > 0 then
    local read = read_body(handle, call, body:getBytes(0, length))
    -- Not `headers`, which waiting for the body has put out of use.
    handle:headers():replace("content-length", body:setBytes(read))
  end
end

function envoy_on_request(handle)
  local call = CALLS[handle:streamInfo():routeName()]
  if call then
    -- Envoy lets pass what a script fails at.
    local ok, fault = pcall(read_request, handle, call)
    if not ok then
      handle:logErr(tostring(fault))
      refuse(handle, "500", INTERNAL)
    end
  end
end
