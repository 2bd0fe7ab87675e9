-- `conn` and its endpoints. A conn is a table with a filter's own fields; what the API has is found by __index, so that
-- the table itself holds nothing of ours.
local native, endpoint_native, mr = ...

local error, pairs, rawset, tostring, type = error, pairs, rawset, tostring, type
local floor, max, format, gsub = math.floor, math.max, string.format, string.gsub
local concat, sort = table.concat, table.sort

local DONE = 0 -- of enum wake; the others are:
local reasons = { "eof", "timeout", "limit" }

local function names_of(fields)
  local names = {}
  for name in pairs(fields) do names[#names + 1] = name end
  sort(names)
  return concat(names, ", ")
end

-- ---- conn -------------------------------------------------------------------------------------------------------------

local methods = {
  close = native.close,
  reject = native.reject,
  reset = native.reset,
  detach = native.detach,
  spawn = native.spawn,
}

local getters = {
  id = native.id,
  listener = native.listener,
  started = native.started,
  client = native.client,
  server = native.server,
  proxy = native.proxy,
  shared = native.shared,
  from_client_bytes = native.from_client_bytes,
  from_server_bytes = native.from_server_bytes,
}

-- Calls set(conn, number of the field, value) for each field of a table like { idle = 30 }.
local function set_each(conn, method, fields, numbers, most, set)
  if type(fields) ~= "table" then
    error(format("conn:%s takes a table with %s", method, names_of(numbers)), 3)
  end
  for name, value in pairs(fields) do
    if not numbers[name] then
      error(format("conn:%s has no '%s': it knows %s", method, type(name) == "string" and name or type(name), names_of(numbers)), 3)
    end
    if value == false then value = 0 end
    if type(value) ~= "number" or not (value >= 0 and value <= most) then
      error(format("conn:%s: %s is a number from 0 to %g, or false", method, name, most), 3)
    end
  end
  for name, value in pairs(fields) do set(conn, numbers[name], value or 0) end
end

local directions = { from_client = 0, from_server = 1 } -- enum direction
local timeouts = { connect = 0, idle = 1, half_close = 2, send_stall = 3, max_lifetime = 4 } -- enum filter_timeout

function methods.limit(conn, fields)
  set_each(conn, "limit", fields, directions, 1e12, native.limit)
end

function methods.timeout(conn, fields)
  set_each(conn, "timeout", fields, timeouts, 1e9, native.timeout)
end

function methods.quota(conn, bytes, passed)
  if type(bytes) ~= "number" or not (bytes >= 0 and bytes <= 2 ^ 53) then
    error("conn:quota: the number of bytes goes from 0 to 2^53", 2)
  end
  if type(passed) ~= "function" then error("conn:quota: what is to be called must be a function", 2) end
  native.quota(conn, floor(bytes), passed)
end

local levels = { error = mr.log.error, warn = mr.log.warn, info = mr.log.info, debug = mr.log.debug }

function methods.log(conn, level, ...)
  local write = levels[level]
  if not write then error("conn:log: the level is error, warn, info or debug", 2) end
  write(format("#%d %s:", native.id(conn), endpoint_native.name(native.client(conn))), ...)
end

local function conn_index(conn, name)
  local method = methods[name]
  if method then return method end
  local getter = getters[name]
  if getter then return getter(conn) end
end

local function conn_newindex(conn, name, value)
  if methods[name] or getters[name] then
    error("assignment to conn." .. name .. ", which is the API's", 2)
  end
  rawset(conn, name, value)
end

-- ---- endpoints --------------------------------------------------------------------------------------------------------

local check_source, reach, take = endpoint_native.check_source, endpoint_native.reach, endpoint_native.take
local read_hooks, peek_hooks = endpoint_native.read_hooks, endpoint_native.peek_hooks

local endpoint_methods = { close_write = endpoint_native.close_write }

local endpoint_getters = {
  ip = endpoint_native.ip,
  port = endpoint_native.port,
  name = endpoint_native.name,
  eof = endpoint_native.eof,
}

function endpoint_methods.peek(endpoint, count, seconds)
  check_source(endpoint, "peek", peek_hooks)
  local wake = reach(endpoint, count, seconds)
  if wake ~= DONE then return nil, reasons[wake] end
  return endpoint_native.view(endpoint, count)
end

function endpoint_methods.read(endpoint, count, seconds)
  check_source(endpoint, "read", read_hooks)
  local wake = reach(endpoint, count, seconds)
  if wake ~= DONE then return nil, reasons[wake] end
  return take(endpoint, count)
end

function endpoint_methods.consume(endpoint, count, seconds)
  check_source(endpoint, "consume", read_hooks)
  local wake = reach(endpoint, count, seconds)
  if wake ~= DONE then return nil, reasons[wake] end
  endpoint_native.skip(endpoint, count)
  return true
end

-- Without its end, which is "\n" or "\r\n".
function endpoint_methods.read_line(endpoint, seconds)
  check_source(endpoint, "read_line", read_hooks)
  local deadline = seconds and mr.now() + seconds
  local known = 0
  while true do
    local size, there = endpoint_native.find_line(endpoint, known)
    if size then
      return (gsub(take(endpoint, size), "\r?\n$", ""))
    end
    known = there
    local wake = reach(endpoint, known + 1, deadline and max(0, deadline - mr.now()))
    if wake ~= DONE then return nil, reasons[wake] end
  end
end

function endpoint_methods.write(endpoint, bytes)
  endpoint_native.await_room(endpoint)
  if endpoint_native.put(endpoint, bytes) then return true end
  return nil, "closed"
end

local function endpoint_index(endpoint, name)
  local method = endpoint_methods[name]
  if method then return method end
  local getter = endpoint_getters[name]
  if getter then return getter(endpoint) end
  if name == "tls" then return nil end -- for later
  error("an endpoint has no '" .. tostring(name) .. "': it has " .. names_of(endpoint_getters) .. ", tls and the methods "
    .. names_of(endpoint_methods), 2)
end

local function endpoint_newindex()
  error("endpoints take no fields: put them on conn", 2)
end

return { __index = conn_index, __newindex = conn_newindex, __metatable = false },
  { __index = endpoint_index, __newindex = endpoint_newindex, __metatable = false }
