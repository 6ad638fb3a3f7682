-- Completes the edge's error answers. It runs for every answer: what is no error returns at once.

-- What the transcoder says when it cannot read a field, as it stands in the JSON of `edge_errors`.
local FIELD_PATTERNS = {
  '"message":"([%w_%.%[%]]+): invalid value',
  '"message":"([%w_%.%[%]]+): ',
  'Could not find field \\"([^"\\]+)\\"',
  'of the field ([%w_%.]+) is conflicting',
  'invalid value Starting an %a+ on a scalar field for type ([%w_]+)',
}

local function field_of(body)
  for _, pattern in ipairs(FIELD_PATTERNS) do
    local field = body:match(pattern)
    if field then
      return field
    end
  end
end

-- Puts a google.rpc.BadRequest that names the field before the other details.
local function name_field(handle)
  local buffer = handle:body()
  local body = buffer:getBytes(0, buffer:length())
  local field = field_of(body)
  local message = body:match('"message":(".*")}')
  local before, after = body:match('^(.-"details":%[)(.*)$')
  if field and message and before then
    local violation = '{"@type":"type.googleapis.com/google.rpc.BadRequest","field_violations":'
      .. '[{"field":"' .. field .. '","description":' .. message .. ',"reason":"MALFORMED"}]},'
    handle:headers():replace("content-length", buffer:setBytes(before .. violation .. after))
  end
end

-- An exception's text, which grpcio sends with the code UNKNOWN, is for the service's log alone.
local INTERNAL = '{"code":13,"message":"internal error","details":[{"@type":'
  .. '"type.googleapis.com/google.rpc.ErrorInfo","reason":"INTERNAL","domain":"edge.starling"}]}'

local function hide_unknown(handle)
  local buffer = handle:body()
  if buffer and buffer:getBytes(0, buffer:length()):find('^{"code":2,') then
    handle:headers():replace("content-length", buffer:setBytes(INTERNAL))
  end
end

function envoy_on_response(handle)
  local headers = handle:headers()
  local status = headers:get(":status")
  if status == "200" then
    return
  end
  if status == "429" or status == "503" then
    if not headers:get("retry-after") then
      headers:add("retry-after", "1")
    end
  elseif status == "500" then
    hide_unknown(handle)
  elseif headers:get("x-starling-unread") then
    name_field(handle)
  end
end
