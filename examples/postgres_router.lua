-- PostgreSQL by database: the database that a client asks for chooses the server.
--
--   moonring run -c examples/postgres_router.yaml
--   psql -h 127.0.0.1 -p 6433 -U postgres shop
--
-- Sessions are not encrypted here: a client that would like to be (sslmode=prefer, psql's default) is told that it
-- cannot, and goes on in the clear.
--
-- Ctrl-C makes a client open another connection, whose only message names the process of the server that is to be
-- interrupted. To know later which server that is, the number of the server is put into the highest byte of the process
-- number on its way to the client, and taken out of it again. That byte is 0 on Linux. (So an upstream here is one
-- server; of several, the wrong one might be asked.)
local mr = require "moonring"

local p = mr.params { databases = mr.required(mr.map "string") } -- database -> upstream

-- upstream -> number, number -> upstream: the same in every worker.
local numbers, upstreams = {}, {}
for _, upstream in pairs(p.databases) do
  if not numbers[upstream] then
    numbers[upstream] = true
    upstreams[#upstreams + 1] = upstream
  end
end
table.sort(upstreams)
for number, upstream in ipairs(upstreams) do numbers[upstream] = number end

local PLACE = 2 ^ 24 -- of the number in a process number

-- The first message that asks for no encryption; nil: the client says no such thing.
local function read_startup(client)
  local size = 0
  while client:peek(size + 1) do
    local seen = client:peek(0)
    local startup, why = mr.pg.startup(seen)
    size = #seen
    if why == "no" then return nil end
    if startup and (startup.kind == "tls" or startup.kind == "encryption") then
      client:consume(startup.size)
      client:write("N") -- not here
      size = 0
    elseif startup then
      return startup
    end
  end
end

local function error_message(text)
  local fields = "SFATAL\0VFATAL\0C3D000\0M" .. text .. "\0\0"
  return "E" .. mr.u32be(4 + #fields) .. fields
end

local function route_start(conn, startup)
  local upstream = p.databases[startup.database]
  if not upstream then conn:reject(error_message(('database "%s" is not known here'):format(startup.database))) end
  conn.number = numbers[upstream]
  return upstream
end

local CANCEL_REQUEST = 80877102

local function route_cancel(conn, startup)
  local upstream = upstreams[math.floor(startup.process / PLACE)]
  if not upstream then conn:close() end
  conn.client:consume(startup.size)
  conn.cancel = mr.u32be(startup.size) .. mr.u32be(CANCEL_REQUEST) .. mr.u32be(startup.process % PLACE)
    .. startup.secret
  return upstream
end

return {
  route = function(conn)
    local startup = read_startup(conn.client)
    if not startup then conn:close() end
    if startup.kind == "cancel" then return route_cancel(conn, startup) end
    return route_start(conn, startup)
  end,

  connected = function(conn)
    if conn.cancel then
      conn.server:write(conn.cancel)
      conn:detach()
    end
  end,

  from_server = function(conn, buf)
    for message in mr.pg.messages(buf) do
      if message:starts("K") then -- how a session can be cancelled: a process number and a secret
        local process = message:u32be(6)
        if process < PLACE then message:replace(6, 9, mr.u32be(process + conn.number * PLACE)) end
        conn:detach() -- nothing more to do here: from now on the bytes do not enter Lua
        return
      end
    end
  end,
}
