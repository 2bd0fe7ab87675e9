-- mr.params: what a filter's YAML says under `params`, checked against what the script declares. Errors name the place
-- in the YAML.
local native, mr = ...

local error, ipairs, pairs, rawget, setmetatable, tonumber, type = error, ipairs, pairs, rawget, setmetatable, tonumber, type
local concat, find, sort, sub = table.concat, string.find, table.sort, string.sub
local told = native.told

setfenv(1, {})

-- ---- texts of the YAML: the value that one stands for, or nil, and maybe what is wrong with it ------------------------

local scalars = { duration = native.duration, size = native.size }

function scalars.string(text) return text end

function scalars.number(text)
  local number = not find(text, "[^%d.eE+-]") and tonumber(text)
  if number and number - number == 0 then return number end
end

function scalars.boolean(text)
  if text == "true" or text == "false" then return text == "true" end
end

local names = {
  string = "a string", number = "a number", boolean = "true or false", duration = "a duration", size = "a size",
}
local names_of_many = {
  string = "strings", number = "numbers", boolean = "true or false", duration = "durations", size = "sizes",
}

-- ---- types: each has a name, and reads a value of the YAML ------------------------------------------------------------

local function refuse(place, path, problem)
  error(place .. "params." .. path .. ": " .. problem, 0)
end

local function refuse_value(value, path, name)
  refuse(value.place, path, (value.text and '"' .. sub(value.text, 1, 64) .. '"' or value.kind) .. " is not " .. name)
end

local function scalar_type(kind)
  local name = names[kind]
  local function read(value, path)
    if not value.text then refuse_value(value, path, name) end
    local result, problem = scalars[kind](value.text)
    if problem then refuse(value.place, path, problem) end
    if result == nil then refuse_value(value, path, name) end
    return result
  end
  return { name = name, read = read }
end

local function list_type(kind)
  local name, item_type = "a list of " .. names_of_many[kind], scalar_type(kind)
  local function read(value, path)
    if value.kind ~= "a list" then refuse_value(value, path, name) end
    local result = {}
    for index, item in ipairs(value.items) do result[index] = item_type.read(item, path .. "[" .. index .. "]") end
    return result
  end
  return { name = name, read = read }
end

local function map_type(kind)
  local name, item_type = "a map of " .. names_of_many[kind], scalar_type(kind)
  local function read(value, path)
    if value.kind ~= "a map" then refuse_value(value, path, name) end
    local result = {}
    for _, item in ipairs(value.items) do result[item.key] = item_type.read(item, path .. "." .. item.key) end
    return result
  end
  return { name = name, read = read }
end

local function choice_type(choices)
  local name = "one of " .. concat(choices, ", ")
  local function read(value, path)
    for _, choice in ipairs(choices) do
      if value.text == choice then return choice end
    end
    refuse_value(value, path, name)
  end
  return { name = name, read = read }
end

-- ---- what scripts write for a parameter: a default, or one of these ----------------------------------------------------

-- By what the script got, which is empty and thus cannot be changed.
local declarations = setmetatable({}, { __mode = "k" })

local function declare(declared_type, default)
  local declaration = setmetatable({}, { __metatable = false, __newindex = function() error("it is constant", 2) end })
  declarations[declaration] = { type = declared_type, default = default }
  return declaration
end

local function kinds()
  local all = {}
  for kind in pairs(scalars) do all[#all + 1] = kind end
  sort(all)
  return concat(all, ", ")
end

local function check_kind(name, kind)
  if not rawget(scalars, kind) then error("mr." .. name .. ": " .. told(kind) .. " is none of " .. kinds(), 3) end
end

local function parsed(kind, text)
  if type(text) ~= "string" then error("mr." .. kind .. ": " .. told(text) .. " is not a string like '1s' or '1MiB'", 3) end
  local value, problem = scalars[kind](text)
  if not value then error("mr." .. kind .. ": " .. problem, 3) end
  return value
end

function mr.duration(text)
  local default = parsed("duration", text)
  return declare(scalar_type("duration"), default)
end

function mr.size(text)
  local default = parsed("size", text)
  return declare(scalar_type("size"), default)
end

function mr.list(kind)
  check_kind("list", kind)
  return declare(list_type(kind), {})
end

function mr.map(kind)
  check_kind("map", kind)
  return declare(map_type(kind), {})
end

-- nil, or a copy of the list.
local function strings(list)
  local copied = {}
  for index, item in ipairs(list) do
    if type(item) ~= "string" then return nil end
    copied[index] = item
  end
  for key in pairs(list) do
    if type(key) ~= "number" or not copied[key] then return nil end
  end
  return copied
end

function mr.one_of(choices)
  local copied = type(choices) == "table" and strings(choices)
  if not copied or #copied == 0 then error("mr.one_of: a list of strings, the first of which is the default", 2) end
  return declare(choice_type(copied), copied[1])
end

function mr.required(kind)
  local declaration = declarations[kind]
  if declaration then return declare(declaration.type) end
  check_kind("required", kind)
  return declare(scalar_type(kind))
end

-- ---- mr.params --------------------------------------------------------------------------------------------------------

local function declaration_of(name, default)
  local kind = type(default)
  if type(name) ~= "string" then error("mr.params: " .. told(name) .. " is no name for a parameter", 4) end
  if declarations[default] then return declarations[default] end
  if kind == "string" or kind == "number" or kind == "boolean" then
    return { type = scalar_type(kind), default = default }
  end
  local list = kind == "table" and strings(default)
  if not list then
    error("mr.params: " .. name .. ": a default is a string, number, boolean, list of strings, or made by mr.duration, "
      .. "mr.size, mr.list, mr.map, mr.one_of or mr.required", 4)
  end
  return { type = list_type("string"), default = list }
end

local function declarations_of(declared)
  local all = {}
  for name, default in pairs(declared) do all[name] = declaration_of(name, default) end
  return all
end

local function sorted_names(table)
  local all = {}
  for name in pairs(table) do all[#all + 1] = name end
  sort(all)
  return all
end

local function refuse_unknown(declared, item)
  local near, known = native.nearest(declared, item.key), concat(sorted_names(declared), ", ")
  refuse(item.key_place, item.key, "unknown parameter; " .. (near and "did you mean " .. near .. "?"
    or known ~= "" and "there are " .. known or "there are none"))
end

local function undefined_in(declared)
  return function(_, name)
    local near = type(name) == "string" and native.nearest(declared, name)
    error("mr.params declared no " .. told(name) .. (near and " (did you mean '" .. near .. "'?)" or ""), 2)
  end
end

function mr.params(declared)
  if type(declared) ~= "table" then error("bad argument #1 to 'params' (table expected)", 2) end
  local all = declarations_of(declared)
  local given, problem = native.take_params()
  if not given then error("mr.params: " .. problem, 2) end
  local values = {}
  for _, item in ipairs(given.items) do
    if not all[item.key] then refuse_unknown(all, item) end
    values[item.key] = all[item.key].type.read(item, item.key)
  end
  for _, name in ipairs(sorted_names(all)) do
    local declaration = all[name]
    if values[name] == nil then values[name] = declaration.default end
    if values[name] == nil then refuse(given.place, name, "is missing: " .. declaration.type.name) end
  end
  return setmetatable(values, { __index = undefined_in(all), __metatable = false })
end
