-- TLS, SSH and HTTP on one port: a client's first bytes tell which server it wants.
--
--   moonring run -c examples/one_port.yaml
--   curl http://127.0.0.1:8443/
--   curl -k https://127.0.0.1:8443/
--   ssh -p 8443 127.0.0.1
--
-- Nothing is taken out of the stream: the server gets every byte, those that were looked at included. A client that
-- says nothing is taken for one of SSH, where the server may speak first.
local mr = require "moonring"

local p = mr.params {
  tls = "tls", -- names of upstreams
  ssh = "ssh",
  http = "http",
  patience = mr.duration "1s", -- how long a client may say nothing; less than the listener's timeouts.preread
}

local TLS_HANDSHAKE = 22

return {
  route = function(conn)
    local first = conn.client:peek(1, p.patience)
    if not first then return p.ssh end
    if first:byte(1) == TLS_HANDSHAKE then return p.tls end
    local start = conn.client:peek(4, p.patience)
    return start and start:starts("SSH-") and p.ssh or p.http
  end,
}
