-- A filter that compares lua/library/moonring.lua, which editors read, and lua/README.md with what is really there: it
-- looks into the tables behind conn, buf, mr and the others by the debug library (lua.libs: full), and logs each name
-- that only one of them has.
local mr = require "moonring"

-- ---- what the library for editors has -----------------------------------------------------------------------------------

-- "View" and "mr.resp" -> the set of its names. Fields stand in front of the table that they belong to.
local function declared_names(path)
  assert(loadfile(path))
  local declared, fields = { mr = {} }, {}
  for line in io.lines(path) do
    local class = line:match("^---@class moonring%.(%w+)")
    local field = line:match("^---@field (%w[%w_]*)")
    local owner = line:match("^local (%w+) = {}$") or line:match("^([%w.]+) = {}$")
    local in_table, name = line:match("^function ([%w_.]+)[.:]([%w_]+)%(")
    if class or line == "" then fields = {} end
    if field then fields[field] = true end
    if owner then
      declared[owner], fields = owner == "mr" and {} or fields, {}
      local parent, part = owner:match("^(.+)%.(%w+)$")
      if parent then declared[parent][part] = true end
    end
    if name then declared[in_table][name] = true end
  end
  return declared
end

-- ---- what there is ------------------------------------------------------------------------------------------------------

local function add(set, names)
  for name in pairs(names) do set[name] = true end
  return set
end

local function upvalues_of(run, set, wanted)
  local index, name, value = 1, debug.getupvalue(run, 1)
  while name do
    if wanted[name] then add(set, value) end
    index = index + 1
    name, value = debug.getupvalue(run, index)
  end
end

local tables_of_names = {
  members = true, properties = true, methods = true, getters = true, endpoint_methods = true, endpoint_getters = true,
}

-- Asked for a name that is not there, most things raise an error: then the function that looked for it is on the stack,
-- and with it the tables in which it looked.
local function names_behind(value)
  local set = {}
  xpcall(function() return value.no_such_name end, function()
    local level, info = 1, debug.getinfo(1, "f")
    while info do
      upvalues_of(info.func, set, tables_of_names)
      level = level + 1
      info = debug.getinfo(level, "f")
    end
  end)
  return set
end

local function names_of_metatable(value)
  local set, metatable = {}, debug.getmetatable(value)
  local index = metatable.__index
  if type(index) == "table" then return add(set, index) end
  upvalues_of(index, set, tables_of_names)
  return set
end

local function without(set, others)
  for name in pairs(others) do set[name] = nil end
  return set
end

local hits = mr.counter("hits_total", "hits")
local level = mr.gauge("level", "level")
local took = mr.histogram("took", "took")
local family = mr.counter("labelled_total", "labelled", { "label" })
local set = mr.cidr_set { "10.0.0.0/8" }

local function names_there(conn, buf)
  local there = { mr = names_of_metatable(mr) }
  for name in pairs(there.mr) do
    if type(mr[name]) == "table" and name ~= "worker" then there["mr." .. name] = names_of_metatable(mr[name]) end
  end
  there["mr.worker"] = { id = true }
  there.Conn, there.Endpoint = names_of_metatable(conn), names_of_metatable(conn.client)
  there.Endpoint.tls = true
  there.View = names_behind(buf:view(1, 1))
  there.Buf = without(names_behind(buf), there.View)
  for frame in buf:lines() do there.Frame = names_behind(frame) end
  -- A frame has its own `view`, but not of its own.
  there.Frame = without(there.Frame, there.View)
  there.Counter, there.Gauge = names_behind(hits), names_behind(level)
  there.Histogram, there.Family = names_behind(took), names_behind(family)
  there.Signal, there.CidrSet = names_of_metatable(mr.signal()), names_of_metatable(set)
  there.Task = names_of_metatable(conn:spawn(function() end))
  return there
end

-- ---- comparing ----------------------------------------------------------------------------------------------------------

local findings = 0

local function find(text, ...)
  findings = findings + 1
  mr.log.error(text:format(...))
end

local function expect_within(some, all, text)
  for owner, names in pairs(some) do
    for name in pairs(names) do
      if not (all[owner] and all[owner][name]) then find(text, owner, name) end
    end
  end
end

-- Each name stands in a Lua block of the manual, behind a dot or a colon.
local function expect_in_manual(there, path)
  local used, in_block = {}, false
  for line in io.lines(path) do
    if line:match("^```") then in_block = line == "```lua" end
    if in_block then
      for name in line:gmatch("[.:]([%a_][%w_]*)") do used[name] = true end
    end
  end
  for owner, names in pairs(there) do
    for name in pairs(names) do
      if not used[name] then find("the manual has no example of %s.%s", owner, name) end
    end
  end
end

return {
  from_client = function(conn, buf)
    local declared, there = declared_names("lua/library/moonring.lua"), names_there(conn, buf)
    expect_within(declared, there, "the library for editors has %s.%s, which is not there")
    expect_within(there, declared, "the library for editors lacks %s.%s")
    expect_in_manual(there, "lua/README.md")
    local count = 0
    for _, names in pairs(there) do
      for _ in pairs(names) do count = count + 1 end
    end
    print(("compared %d names: %d findings"):format(count, findings))
  end,
}
