-- What `mr` has besides Lua's own: clocks, random numbers, texts made of numbers, the worker. Its other parts get the
-- value that this one returns.
local native, mr, shared = ...

local ffi = require("ffi")
local band, rshift = bit.band, bit.rshift
local char, format, sub = string.char, string.format, string.sub
local floor = math.floor
local error, setmetatable, tonumber, tostring, type = error, setmetatable, tonumber, tostring, type

-- What a script gets hold of leads to no global.
setfenv(1, {})

-- As struct values_shared in values.h.
shared = ffi.cast([[const struct {
  double *cells;
  const uint64_t *now_us;
  double (*read_now)(void);
  double (*read_time)(void);
  double (*read_random)(void *random);
  uint64_t random[4];
  uint32_t worker;
} *]], shared)

-- A value in a message: as text only where it shows no address.
local function told(value)
  local kind = type(value)
  if kind == "string" then return "'" .. sub(value, 1, 64) .. "'" end
  return (kind == "number" or kind == "boolean" or kind == "nil") and tostring(value) or "a " .. kind
end
native.told = told

-- ---- clocks -----------------------------------------------------------------------------------------------------------

-- The time of the worker's turn: all hooks of a turn have the same.
function mr.now()
  local now_us = shared.now_us
  if now_us == nil then return shared.read_now() end
  return tonumber(now_us[0]) / 1e6
end

function mr.time()
  return shared.read_time()
end

-- ---- random numbers ---------------------------------------------------------------------------------------------------

local function check_whole(name, number, min, max)
  if type(number) ~= "number" or number < min or number > max or number % 1 ~= 0 then
    error(format("mr.%s: %s is not a whole number from %.0f to %.0f", name, told(number), min, max), 3)
  end
end

local random = ffi.cast("void *", shared.random)

function mr.random(first, last)
  if first == nil then return shared.read_random(random) end
  if last == nil then first, last = 1, first end
  check_whole("random", first, -2 ^ 52, 2 ^ 52)
  check_whole("random", last, first, 2 ^ 52)
  return first + floor(shared.read_random(random) * (last - first + 1))
end

-- ---- texts made of numbers --------------------------------------------------------------------------------------------

function mr.u8(number)
  check_whole("u8", number, 0, 0xff)
  return char(number)
end

function mr.u16be(number)
  check_whole("u16be", number, 0, 0xffff)
  return char(rshift(number, 8), band(number, 0xff))
end

function mr.u16le(number)
  check_whole("u16le", number, 0, 0xffff)
  return char(band(number, 0xff), rshift(number, 8))
end

function mr.u24be(number)
  check_whole("u24be", number, 0, 0xffffff)
  return char(rshift(number, 16), band(rshift(number, 8), 0xff), band(number, 0xff))
end

function mr.u24le(number)
  check_whole("u24le", number, 0, 0xffffff)
  return char(band(number, 0xff), band(rshift(number, 8), 0xff), rshift(number, 16))
end

local function four_be(number)
  return char(rshift(number, 24), band(rshift(number, 16), 0xff), band(rshift(number, 8), 0xff), band(number, 0xff))
end

local function four_le(number)
  return char(band(number, 0xff), band(rshift(number, 8), 0xff), band(rshift(number, 16), 0xff), rshift(number, 24))
end

function mr.u32be(number)
  check_whole("u32be", number, 0, 0xffffffff)
  return four_be(number)
end

function mr.u32le(number)
  check_whole("u32le", number, 0, 0xffffffff)
  return four_le(number)
end

function mr.u64be(number)
  check_whole("u64be", number, 0, 2 ^ 53)
  return four_be(floor(number / 2 ^ 32)) .. four_be(number % 2 ^ 32)
end

function mr.u64le(number)
  check_whole("u64le", number, 0, 2 ^ 53)
  return four_le(number % 2 ^ 32) .. four_le(floor(number / 2 ^ 32))
end

-- Seven bits a byte, the lowest first; the eighth says that more follow.
function mr.varint(number)
  check_whole("varint", number, 0, 2 ^ 53)
  local text = ""
  while number > 127 do
    text = text .. char(number % 128 + 128)
    number = floor(number / 128)
  end
  return text .. char(number)
end

-- ---- tables that are complete -----------------------------------------------------------------------------------------

-- The function to raise the error for a field that a table of `mr` does not have.
local function undefined_in(name, fields)
  return function(_, field)
    local near = type(field) == "string" and native.nearest(fields, field)
    error(name .. " has no " .. told(field) .. (near and " (did you mean '" .. near .. "'?)" or ""), 2)
  end
end

local function sealed(name, index)
  local function assigned(_, field)
    error("assignment to " .. told(field) .. " of " .. name .. ": every filter shares it", 2)
  end
  return setmetatable({}, { __index = index, __newindex = assigned, __metatable = false })
end

mr.log = sealed("mr.log", setmetatable(mr.log, { __index = undefined_in("mr.log", mr.log) }))

local no_field_of_worker = undefined_in("mr.worker", { id = true })

-- It is not constant: a script is made on one thread, and used on another.
mr.worker = sealed("mr.worker", function(_, field)
  if field == "id" then return shared.worker end
  return no_field_of_worker(nil, field)
end)

return shared
