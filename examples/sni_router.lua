-- TLS by name: the server name in a client's hello (SNI) chooses where it goes. Nothing is decrypted.
--
--   moonring run -c examples/sni_router.yaml
--   openssl s_client -connect 127.0.0.1:8444 -servername one.example
--
-- `names` is a map of names to upstreams. "*.example" stands for any one word in front of ".example"; the whole name is
-- looked up first. Who wants another name, or none, gets the alert that TLS has for it, unless `otherwise` names an
-- upstream.
local mr = require "moonring"

local p = mr.params {
  names = mr.required(mr.map "string"),
  otherwise = "",
}

local UNRECOGNIZED_NAME = "\21\3\3\0\2\2\112" -- a record with a fatal alert

-- It may come in any number of pieces. nil: there is none, and why.
local function read_hello(client)
  local size, hello, why = 0, nil, "more"
  while why == "more" do
    local seen
    seen, why = client:peek(size + 1)
    if seen then
      seen = client:peek(0) -- all that is there
      hello, why = mr.tls.hello(seen)
      size = #seen
    end
  end
  return hello, why
end

local function upstream_of(name)
  return p.names[name] or p.names[name:gsub("^[^.]+", "*")]
end

return {
  route = function(conn)
    local hello, why = read_hello(conn.client)
    local upstream = hello and upstream_of(hello.name or "")
    if upstream then return upstream end
    if p.otherwise ~= "" then return p.otherwise end
    conn:log("info", "refused:", hello and hello.name or why or "a hello without a name")
    conn:reject(UNRECOGNIZED_NAME)
  end,
}
