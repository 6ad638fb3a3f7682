-- Completes the edge's error answers. It runs for every answer: what is no error returns at once.

-- An exception's text, which grpcio sends with the code UNKNOWN, is for the service's log alone.
local INTERNAL = '{"code":13,"message":"internal error","details":[{"@type":'
  .. '"type.googleapis.com/google.rpc.ErrorInfo","reason":"INTERNAL","domain":"edge.starling"}]}'

local UNAVAILABLE = '{"code":14,"message":"the service is stopping; try again","details":[{"@type":'
  .. '"type.googleapis.com/google.rpc.ErrorInfo","reason":"UNAVAILABLE","domain":"edge.starling"}]}'

-- Who asked still waits: it is the server that cancelled, because it stops.
local function unavailable(handle)
  local buffer = handle:body(true)
  local headers = handle:headers()
  headers:replace(":status", "503")
  headers:replace("content-length", buffer:setBytes(UNAVAILABLE))
  headers:replace("content-type", "application/json")
  headers:replace("retry-after", "1")
end

-- What a proxy or gRPC itself says when time is over or a service away has no reason: here it gets one.
local function give_reason(handle, reason)
  local buffer = handle:body()
  if not buffer then
    return
  end
  local text = buffer:getBytes(0, buffer:length())
  local start = text:match('^({.*"details":%[)%]}%s*$')
  if start then
    local whole = start .. '{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"' .. reason
      .. '","domain":"edge.starling"}]}'
    handle:headers():replace("content-length", buffer:setBytes(whole))
  end
end

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
    if status == "503" then
      give_reason(handle, "UNAVAILABLE")
    end
  elseif status == "504" then
    give_reason(handle, "DEADLINE_EXCEEDED")
  elseif status == "499" then
    unavailable(handle)
  elseif status == "500" then
    hide_unknown(handle)
  end
end
