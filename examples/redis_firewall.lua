-- A firewall for Redis: commands that are denied do not reach the server.
--
--   moonring run -c examples/redis_firewall.yaml
--   redis-cli -p 6381 flushall
--
-- A denied command is replaced by one that no server knows. So the server itself answers it with an error, in its place
-- among the other answers, also when the client sends many commands before it reads.
local mr = require "moonring"

local p = mr.params { deny = { "FLUSHALL", "FLUSHDB", "CONFIG", "SHUTDOWN", "DEBUG" } }
local refused = mr.counter("redis_firewall_refused_total", "commands that were refused", { "command" })

local denied = {}
for _, name in ipairs(p.deny) do denied[name:upper()] = refused:with(name:upper()) end

local REPLACEMENT = "*1\r\n$19\r\nrefused.by.moonring\r\n"

return {
  from_client = function(_, buf)
    for command in mr.resp.commands(buf) do
      local counter = denied[mr.resp.name(command)]
      if counter then
        counter:inc()
        command:replace(REPLACEMENT)
      end
    end
  end,
}
