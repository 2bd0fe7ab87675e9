-- Tells the server who asks: every HTTP/1 request gets the header X-Forwarded-For with the client's address.
--
--   moonring run -c examples/http_header.yaml
--   curl http://127.0.0.1:8092/
--
-- The header goes to the end of a request's head, behind one that the client may have sent, so that the last address of
-- all is one that can be trusted. Bodies pass without entering Lua, however they are framed. The answers are followed
-- too: only they tell when a connection stops being HTTP (a WebSocket, a tunnel), where nothing must be added.
local mr = require "moonring"

local p = mr.params { name = "X-Forwarded-For" }

return {
  from_client = function(conn, buf)
    for request in mr.http1.requests(buf) do
      local head = mr.http1.head(request)
      local last = head.size - 1 -- where the empty line begins
      request:replace(last, last - 1, p.name .. ": " .. (conn.client.ip or "unknown") .. "\r\n")
    end
  end,

  from_server = function(_, buf)
    for _ in mr.http1.responses(buf) do end
  end,
}
