-- What filters can reach of Lua's own libraries, and the environments they see it through. Runs once in each VM, as the
-- only code there that has everything; filters get what is handed out below, and nothing that leads back here.
--
-- `libs: safe` is an allow-list. It has no files, no processes, no bytecode, no pointers or addresses, and nothing that
-- changes the environment of another function. `libs: full` is all that LuaJIT has. In both, functions of C that call
-- Lua look at the C stack first: LuaJIT has no limit of its own there, and the process would end.
local native, full = ...

local debug, error, ipairs, load, pairs, rawget, select = debug, error, ipairs, load, pairs, rawget, select
local setmetatable, tostring, type, unpack = setmetatable, tostring, type, unpack
local require_anything = require
local check_stack, check_room, check_yield = native.check_stack, native.check_room, native.check_yield
local find, format, gmatch, gsub, rep, sub = string.find, string.format, string.gmatch, string.gsub, string.rep, string.sub

-- ---- functions that call Lua from C, or make much of little -----------------------------------------------------------

local sort, time = table.sort, os.time
local create, resume, yield = coroutine.create, coroutine.resume, coroutine.yield

function string.gsub(text, pattern, replacement, count)
  if type(replacement) ~= "string" then check_stack() end
  return gsub(text, pattern, replacement, count)
end

function string.rep(text, count, separator)
  if type(text) == "string" and type(count) == "number" then
    local size = (#text + (type(separator) == "string" and #separator or 0)) * count
    if size > 65536 then check_room(2 * size) end -- it is put together, and then copied
  end
  return rep(text, count, separator)
end

-- Where one place in a script has called string.sub with an end beyond the text, and this was compiled, the compiler of
-- Debian 12's LuaJIT takes a negative end for one as well: ("abcdef"):sub(3, -4) is "cdef" then (LuaJIT issue 1469).
-- Positions that exist are not in danger.
function string.sub(text, i, j)
  if type(text) ~= "string" or type(i) ~= "number" or i % 1 ~= 0 then return sub(text, i, j) end
  local size = #text
  if j == nil then j = size end
  if type(j) ~= "number" or j % 1 ~= 0 then return sub(text, i, j) end
  if i < 0 then i = i + size + 1 end
  if i < 1 then i = 1 end
  if j < 0 then j = j + size + 1 end
  if j > size then j = size end
  if i > j then return "" end
  return sub(text, i, j)
end

function table.sort(list, before)
  check_stack()
  return sort(list, before)
end

function os.time(date)
  if date == nil then return time() end
  check_stack()
  return time(date)
end

function coroutine.resume(...)
  check_stack()
  return resume(...)
end

local function unwrap(good, ...)
  if not good then error((...), 0) end
  return ...
end

-- Lua's own adds a place to the message at each level, which makes megabytes of a deep recursion.
function coroutine.wrap(body)
  local thread = create(body)
  return function(...)
    check_stack()
    return unwrap(resume(thread, ...))
  end
end

-- Waiting is for the functions of the API: what a hook itself yields would go to the engine.
function coroutine.yield(...)
  check_yield()
  return yield(...)
end

-- A hook's own thread must not get into the hands of a filter: resuming it would take it from the engine.
coroutine.running = native.running

-- ---- values as text, without addresses --------------------------------------------------------------------------------

local is_plain = { ["nil"] = true, boolean = true, number = true, string = true, cdata = true }

local function tostring_disguised(value)
  local kind = type(value)
  if is_plain[kind] then return tostring(value) end
  check_stack()
  local metatable = debug.getmetatable(value)
  if metatable and rawget(metatable, "__tostring") then return tostring(value) end
  return kind .. ": 0x" .. native.disguise(value)
end

local function format_carefully(pattern, ...)
  if type(pattern) == "string" and find(gsub(pattern, "%%%%", ""), "%%[-+ #0-9.]*p") then
    error("bad argument #1 to 'format' (%p shows an address; %s tells values apart)", 2)
  end
  local values = { ... }
  for index = 1, select("#", ...) do
    if not is_plain[type(values[index])] then values[index] = tostring_disguised(values[index]) end
  end
  return format(pattern, unpack(values, 1, select("#", ...)))
end

-- The usual case is written so that LuaJIT compiles it.
local function format_disguised(pattern, ...)
  local a, b, c, d = ...
  if select("#", ...) <= 4 and is_plain[type(a)] and is_plain[type(b)] and is_plain[type(c)] and is_plain[type(d)]
    and type(pattern) == "string" and not (find(pattern, "p", 1, true) and find(pattern, "%%[-+ #0-9.]*p")) then
    return format(pattern, ...)
  end
  return format_carefully(pattern, ...)
end

-- ---- what is handed out -----------------------------------------------------------------------------------------------

local absent = {
  _G = "a global is reached by its name, and fields belong into a table of yours",
  collectgarbage = "garbage is collected between hooks, and lua.memory is the limit",
  debug = "an error that nobody catches is logged with its traceback",
  dofile = "files are loaded by require, from lua.path",
  ffi = "buf and its views read bytes at the same speed",
  getfenv = "pass what a function needs as arguments",
  io = "mr.read_file and mr.lines read files at the top level, mr.log writes to the log",
  jit = "`jit: false` on the filter in the YAML turns the compiler off",
  loadfile = "files are loaded by require, from lua.path",
  module = "return a table from the file",
  newproxy = "use a table with a metatable",
  ["os.difftime"] = "subtract the two times",
  ["os.execute"] = "a filter starts no programs",
  ["os.exit"] = "raise an error, or close the connection",
  ["os.getenv"] = "settings come from `params` of the filter in the YAML, by mr.params",
  ["os.remove"] = "a filter changes no files",
  ["os.rename"] = "a filter changes no files",
  ["os.setlocale"] = "the locale is always C",
  ["os.tmpname"] = "a filter writes no files",
  package = "modules are loaded by require, from lua.path",
  setfenv = "pass what a function needs as arguments, or an environment to load",
  ["string.dump"] = "bytecode can neither be made nor loaded",
}

local function refuse(name, level)
  error(name .. " is not there for filters (lua.libs: safe): " .. absent[name], level + 1)
end

local function pick(from, names)
  local picked = {}
  for name in gmatch(names, "%S+") do picked[name] = from[name] end
  return picked
end

local libraries = {
  string = "byte char find format gmatch gsub len lower match rep reverse sub upper",
  table = "concat foreach foreachi getn insert maxn move remove sort",
  math = "abs acos asin atan atan2 ceil cos cosh deg exp floor fmod frexp huge ldexp log log10 max min modf pi pow rad "
    .. "random randomseed sin sinh sqrt tan tanh",
  coroutine = "create isyieldable resume running status wrap yield",
  bit = "arshift band bnot bor bswap bxor lshift rol ror rshift tobit tohex",
  os = "clock date time",
}

-- A table of its own for each file, so that what one adds to it no other one sees.
local function library(name)
  local function missing(_, field)
    local whole = type(field) == "string" and name .. "." .. field
    if absent[whole] then refuse(whole, 2) end
  end
  return setmetatable(pick(_G[name], libraries[name]), { __index = missing, __metatable = false })
end

-- string.buffer has methods that give out pointers, by which any memory could be read and written.
local function buffer_library()
  local buffer = require_anything("string.buffer")
  local new, metatable = buffer.new, debug.getmetatable(buffer.new())
  local methods = pick(metatable, "decode encode free get put reset skip tostring")
  local put, set = metatable.put, metatable.set
  function methods.putf(self, ...) return put(self, format_disguised(...)) end
  function methods.set(self, text)
    if type(text) ~= "string" then error("bad argument #1 to 'set' (string expected)", 2) end
    return set(self, text)
  end
  metatable.__index = methods
  local function new_checked(size, ...)
    if type(size) == "number" and size > 65536 then check_room(size) end
    return new(size, ...)
  end
  return { new = new_checked, encode = buffer.encode, decode = buffer.decode }
end

local function new_table(array_size, hash_size)
  if type(array_size) == "number" and type(hash_size) == "number" and array_size + hash_size > 4096 then
    check_room(8 * array_size + 48 * hash_size) -- which is rounded up to a power of two
  end
  return native.new_table(array_size, hash_size)
end

local globals, modules = _G, {}
if not full then
  string.format = format_disguised
  globals = pick(_G, "_VERSION assert error getmetatable ipairs next pairs pcall rawequal rawget rawlen rawset select "
    .. "setmetatable tonumber type unpack xpcall")
  globals.tostring = tostring_disguised
  for name in pairs(libraries) do modules[name] = library(name) end
  native.new_table = require_anything("table.new")
  modules["table.new"] = new_table
  modules["table.clear"] = require_anything("table.clear")
  modules["string.buffer"] = buffer_library()
  local strings = debug.getmetatable("")
  strings.__index = pick(string, libraries.string)
  strings.__metatable = false
end

-- ---- the library ------------------------------------------------------------------------------------------------------

-- What `require "moonring"` gives: to be filled by the rest of us, and an empty table in front of it that filters see.
local library_own = {}

local function library_undefined(_, name)
  local near = type(name) == "string" and native.nearest(library_own, name)
  error("moonring has no '" .. tostring_disguised(name) .. "'" .. (near and " (did you mean '" .. near .. "'?)" or ""), 2)
end

local function library_assigned(_, name)
  error("assignment to '" .. tostring_disguised(name) .. "' of moonring: every filter shares it", 2)
end

setmetatable(library_own, { __index = library_undefined })
modules.moonring = setmetatable({}, { __index = library_own, __newindex = library_assigned, __metatable = false })

-- ---- require ----------------------------------------------------------------------------------------------------------

local environment, close

-- Words with dots between them: such a name can neither leave the folders of lua.path nor be a path.
local function is_module_name(name)
  return not find("." .. name .. ".", "[^%w_.-]") and not find("." .. name .. ".", "..", 1, true)
end

local function find_module(name)
  local tried = {}
  if not is_module_name(name) then return nil, ": a name is words with dots between them" end
  for _, pattern in ipairs(native.paths) do
    local path = gsub(pattern, "%?", (gsub(name, "%.", "/")))
    if native.file_exists(path) then return path end
    tried[#tried + 1] = "\n\tno file '" .. path .. "'"
  end
  return nil, table.concat(tried)
end

local function run_module(name, path)
  local front = environment()
  local chunk, message = load(native.read_file(path), "@" .. path, "t", front)
  if not chunk then error(message, 0) end
  modules[name] = false
  local module = chunk(name)
  close(front)
  modules[name] = module or true
  return modules[name]
end

local function require(name)
  if type(name) ~= "string" then error("bad argument #1 to 'require' (string expected)", 2) end
  check_stack()
  if modules[name] then return modules[name] end
  if modules[name] == false then error("module '" .. name .. "' requires itself, or failed before", 2) end
  if not native.is_loading() then
    error("require '" .. name .. "': only at the top level, since reading a file stops every connection", 2)
  end
  local path, tried = find_module(name)
  if path then return run_module(name, path) end
  if full then return require_anything(name) end
  if absent[name] then refuse(name, 2) end
  error("module '" .. name .. "' not found" .. tried, 2)
end

-- ---- environments -----------------------------------------------------------------------------------------------------

local function undefined(table, name)
  if full and rawget(_G, name) ~= nil then return rawget(_G, name) end -- a module may have defined it
  if not full and absent[name] then refuse(name, 2) end
  local near = type(name) == "string" and native.nearest(table, name)
  error("undefined variable '" .. tostring_disguised(name) .. "'" .. (near and " (did you mean '" .. near .. "'?)" or ""), 2)
end

local function assigned(_, name)
  name = tostring_disguised(name)
  error("assignment to the global '" .. name .. "': every connection would share it (write `local " .. name
    .. "`, or keep it in a field of conn)", 2)
end

-- Bytecode would be run unchecked, and a function as the source of text would need the C stack.
local function load_into(front)
  return function(text, name, _, other)
    if type(text) ~= "string" then error("bad argument #1 to 'load' (string expected)", 2) end
    return load(text, name or text, "t", other or front)
  end
end

-- An empty table in front of the file's globals, so that every assignment is noticed.
function environment()
  local own, front = {}, {}
  for name, value in pairs(globals) do own[name] = value end
  if not full then
    for name in pairs(libraries) do own[name] = library(name) end
    own.load, own.loadstring = load_into(front), load_into(front)
  end
  own.require = require
  setmetatable(own, { __index = undefined })
  return setmetatable(front, { __index = own, __newindex = own, __metatable = false })
end

-- From then on assigning a global raises.
function close(front)
  debug.getmetatable(front).__newindex = assigned
end

return globals, modules, environment, close, tostring_disguised, library_own
