-- Protocols: loops over their frames, and what begins a connection or a message as a table.
local shared, mr = ...

local open, shown_frame = shared.open, shared.shown_frame
local exchange, handle, natives, text_of = shared.exchange, shared.handle, shared.natives, shared.text_of
local raise, raise_reason, nearest = shared.raise, shared.raise_reason, shared.nearest
local format, pairs, tostring, type = shared.format, shared.pairs, shared.tostring, shared.type
local char, error, setmetatable = string.char, error, setmetatable

setfenv(1, {})

local COMMANDS, REPLIES, LENGTH, POSTGRES, REQUESTS, RESPONSES = 2, 3, 4, 5, 6, 7 -- of enum loop_framer

-- A part of `mr` that raises where a name is not there.
local function part(name, members)
  local function unknown(_, wrong)
    local near = type(wrong) == "string" and nearest(members, wrong)
    raise(name .. " has no '" .. tostring(wrong) .. "'" .. (near and " (did you mean '" .. near .. "'?)" or ""))
  end
  local function assigned()
    raise("assignment to a name of " .. name .. ": every filter shares it")
  end
  return setmetatable({}, {
    __index = setmetatable(members, { __index = unknown }),
    __newindex = assigned,
    __metatable = false,
  })
end

-- ---- Redis --------------------------------------------------------------------------------------------------------------

local resp = {}

-- A command, up to its name and first key.
function resp.commands(buf)
  return open(buf, COMMANDS, 0)
end

function resp.replies(buf, see)
  return open(buf, REPLIES, 0, see)
end

-- Names that were seen stay in memory, so that none has to be made anew; but somebody may make up any number of them.
local names, names_left = {}, 1000

-- In upper case; "" of an empty command.
function resp.name(command)
  shown_frame(command, "mr.resp.name")
  local size = natives.command_name(handle, command._view)
  if size < 0 then raise("mr.resp.name: the frame is none of mr.resp.commands") end
  local name = text_of(exchange.name, size)
  if not names[name] and names_left > 0 then
    names_left = names_left - 1
    names[name] = true
  end
  return name
end

-- The first argument, as far as it is shown; nil when there is none.
function resp.key(command)
  shown_frame(command, "mr.resp.key")
  local size = natives.command_key(handle, command._view)
  if size < 0 then return nil end
  return command:sub(exchange.found_at + 1, exchange.found_at + size)
end

mr.resp = part("mr.resp", resp)

-- ---- PostgreSQL ---------------------------------------------------------------------------------------------------------

local pg = { startup = shared.heads.postgres_startup }

function pg.messages(buf, see)
  return open(buf, POSTGRES, 0, see)
end

-- By enum postgres_kind; others are the type of a message.
local kinds = { [0] = false, "startup", "tls", "encryption", "cancel", "accepted", "refused" }
for value = #kinds + 1, 255 do kinds[value] = char(value) end

function pg.kind(message)
  shown_frame(message, "mr.pg.kind")
  local kind = kinds[natives.postgres_kind(handle, message._view)]
  if not kind then raise("mr.pg.kind: the frame is none of mr.pg.messages") end
  return kind
end

mr.pg = part("mr.pg", pg)

-- ---- HTTP/1 and TLS -----------------------------------------------------------------------------------------------------

-- What is shown of a message is its head; the body passes, and is dropped or replaced with it.
mr.http1 = part("mr.http1", {
  head = shared.heads.http1_head,
  requests = function(buf) return open(buf, REQUESTS, 0) end,
  responses = function(buf) return open(buf, RESPONSES, 0) end,
})

mr.tls = part("mr.tls", { hello = shared.heads.tls_hello })

-- ---- numbers in front ---------------------------------------------------------------------------------------------------

local defaults = { at = 1, bytes = 4, add = 4, order = "be", max = 2 ^ 53 }

local function check_field(name, value)
  if name == "order" then
    if value ~= "be" and value ~= "le" then raise('mr.len_prefix: order is "be" or "le"') end
  elseif type(value) ~= "number" or value % 1 ~= 0 or not (value >= -2 ^ 53 and value <= 2 ^ 53) then
    raise(format("mr.len_prefix: %s is a whole number", name))
  elseif name ~= "add" and not (value >= 1 and (name == "max" or value <= 65536)) then
    raise(format("mr.len_prefix: %s is a whole number from 1 on", name))
  end
end

local function check_fields(fields)
  if type(fields) ~= "table" then raise("mr.len_prefix{at = 1, bytes = 4, add = 4, order = \"be\"} takes a table") end
  local known = {}
  for name, value in pairs(defaults) do known[name] = value end
  for name, value in pairs(fields) do
    if known[name] == nil then
      local near = type(name) == "string" and nearest(defaults, name)
      raise("mr.len_prefix has no '" .. tostring(name) .. "'" .. (near and " (did you mean '" .. near .. "'?)" or ""))
    end
    check_field(name, value)
    known[name] = value
  end
  return known
end

-- The number begins at byte `at` and has so many bytes; a frame is `add` bytes longer than it says.
function mr.len_prefix(fields)
  local known = check_fields(fields)
  local prefix = natives.prefix_add(handle, known.at, known.bytes, known.add, known.order == "le", known.max)
  if prefix < 0 then raise_reason() end
  return function(buf, see)
    return open(buf, LENGTH, prefix, see)
  end
end
