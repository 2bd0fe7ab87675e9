-- A small HTTP server: the filter answers by itself, and no server stands behind it.
--
--   moonring run -l 127.0.0.1:8094 -f examples/serve.lua
--   curl http://127.0.0.1:8094/
--
-- It answers GET and HEAD with one line of text and keeps the connection for more requests. quick-start.yaml has two of
-- them, A and B, with an address in front that takes turns.
local mr = require "moonring"

local p = mr.params { name = "moonring" }
local requests = 0 -- answered by this worker: each has its own copy of a script's locals

local FIELDS_MAX = 100

-- The first line of a request and its fields, by their names in lower case; nil when the client has ended, or does not.
local function read_request(client)
  local first, fields = client:read_line(), {}
  for _ = 0, FIELDS_MAX do
    local line = first and client:read_line()
    if not line then return nil end
    if line == "" then return first, fields end
    local name, value = line:match "^([^%s:]+):%s*(.-)%s*$"
    if name then fields[name:lower()] = value:lower() end
  end
end

local function respond(client, status, body, closes, is_head)
  client:write("HTTP/1.1 " .. status .. "\r\nContent-Type: text/plain\r\nContent-Length: " .. #body .. "\r\n"
    .. (closes and "Connection: close\r\n" or "") .. "\r\n" .. (is_head and "" or body))
end

-- Whether another request may follow. Behind one with a body it may not: the body would have to be read first.
local function answer(client, request, fields)
  local method, minor_version = request:match "^(%u+) %S+ HTTP/1%.(%d)$"
  if method ~= "GET" and method ~= "HEAD" then
    local status = method and "405 Method Not Allowed\r\nAllow: GET, HEAD" or "400 Bad Request"
    respond(client, status, method and "only GET and HEAD\n" or "this is no HTTP/1 request\n", true)
    return false
  end
  local has_body = fields["content-length"] or fields["transfer-encoding"]
  local closes = has_body or minor_version == "0" or fields.connection == "close"
  requests = requests + 1
  respond(client, "200 OK", ("hello from server %s, request %d\n"):format(p.name, requests), closes, method == "HEAD")
  return not closes
end

return {
  serve = function(conn) -- the session ends when it returns
    local request, fields = read_request(conn.client)
    while request and answer(conn.client, request, fields) do
      request, fields = read_request(conn.client)
    end
  end,
}
