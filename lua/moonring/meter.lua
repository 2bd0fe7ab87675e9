-- mr.counter, mr.gauge, mr.histogram. What scripts hold is a number in a struct that only this file can make: which
-- cells of the worker's row a metric has (metric.h). Its methods are all that can be done with it.
local native, mr, shared = ...

local ffi = require("ffi")
local error, ipairs, select, setmetatable, tostring, type = error, ipairs, select, setmetatable, tostring, type
local huge, istype, told, unpack = math.huge, ffi.istype, native.told, unpack

setfenv(1, {})

local counter_t = ffi.typeof("struct { const uint32_t metric, cell; }")
local gauge_t = ffi.typeof("struct { const uint32_t metric, cell; }")
local histogram_t = ffi.typeof("struct { const uint32_t metric, cell; }")
local family_t = ffi.typeof("struct { const uint32_t metric; }") -- with labels: no cells before `with`

local default_buckets = { 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 } -- seconds

-- By the metric's number: type, name, labels_count, bounds (buckets), known (by the values of its labels).
local families = {}

-- ---- methods ----------------------------------------------------------------------------------------------------------

local function refuse_self(method)
  error("metric:" .. method .. " is called with a colon, on what mr.counter, mr.gauge, mr.histogram or :with returned", 3)
end

local function refuse_number(method, number, allowed)
  error("metric:" .. method .. ": " .. told(number) .. " is not " .. allowed, 3)
end

local counter, gauge, histogram, family = {}, {}, {}, {}

function counter:inc(number)
  if not istype(counter_t, self) then refuse_self("inc") end
  if number == nil then
    number = 1
  elseif type(number) ~= "number" or not (number >= 0 and number < huge) then
    refuse_number("inc", number, "a number from 0 on: a counter only grows")
  end
  local cells, cell = shared.cells, self.cell
  cells[cell] = cells[cell] + number
end

local function is_finite(number)
  return type(number) == "number" and number - number == 0
end

function gauge:inc(number)
  if not istype(gauge_t, self) then refuse_self("inc") end
  if number == nil then number = 1 elseif not is_finite(number) then refuse_number("inc", number, "a number") end
  local cells, cell = shared.cells, self.cell
  cells[cell] = cells[cell] + number
end

function gauge:dec(number)
  if not istype(gauge_t, self) then refuse_self("dec") end
  if number == nil then number = 1 elseif not is_finite(number) then refuse_number("dec", number, "a number") end
  local cells, cell = shared.cells, self.cell
  cells[cell] = cells[cell] - number
end

function gauge:set(number)
  if not istype(gauge_t, self) then refuse_self("set") end
  if not is_finite(number) then refuse_number("set", number, "a number") end
  shared.cells[self.cell] = number
end

function histogram:observe(number)
  if not istype(histogram_t, self) then refuse_self("observe") end
  if not is_finite(number) then refuse_number("observe", number, "a number") end
  local bounds = families[self.metric].bounds
  local count, bucket = #bounds, 0
  while bucket < count and number > bounds[bucket + 1] do bucket = bucket + 1 end
  local cells, cell = shared.cells, self.cell
  local sum = cell + count + 1
  cells[cell + bucket] = cells[cell + bucket] + 1
  cells[sum] = cells[sum] + number
end

-- ---- labels -----------------------------------------------------------------------------------------------------------

local function check_values(own, values, count)
  if count ~= own.labels_count then
    error(own.name .. ":with has " .. count .. " values for " .. own.labels_count .. " labels", 4)
  end
  for index = 1, count do
    local kind = type(values[index])
    if kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
      error(own.name .. ":with: value " .. index .. " is " .. told(values[index])
        .. ", not a string, number or boolean", 4)
    end
    values[index] = tostring(values[index])
  end
end

local function recall(own, values)
  local known = own.known
  for _, value in ipairs(values) do
    known = known and known[value]
  end
  return known
end

-- Clients may choose the values, so there is a bound.
local function remember(own, values, metric)
  if own.known_count == native.series_max then return end
  own.known_count = own.known_count + 1
  local known, last = own.known, #values
  for index = 1, last - 1 do
    known[values[index]] = known[values[index]] or {}
    known = known[values[index]]
  end
  known[values[last]] = metric
end

local function with_slowly(own, ...)
  local values = { ... }
  check_values(own, values, select("#", ...))
  local metric = recall(own, values)
  if not metric then
    metric = own.type(own.number, native.series(own.number, unpack(values)))
    remember(own, values, metric)
  end
  return metric
end

function family:with(...)
  if not istype(family_t, self) then refuse_self("with") end
  local own = families[self.metric]
  local metric = own.labels_count == 1 and select("#", ...) == 1 and own.known[(...)]
  return metric or with_slowly(own, ...)
end

-- ---- types ------------------------------------------------------------------------------------------------------------

local function add_type(type_of_c, name, methods, hint)
  setmetatable(methods, {
    __index = function(_, method)
      local near = type(method) == "string" and native.nearest(methods, method)
      error(name .. " has no " .. told(method) .. (near and " (did you mean '" .. near .. "'?)" or hint or ""), 2)
    end,
  })
  ffi.metatype(type_of_c, {
    __index = methods,
    __tostring = function(self) return families[self.metric].name end,
  })
  return type_of_c
end

local types = {
  counter = add_type(counter_t, "a counter", counter),
  gauge = add_type(gauge_t, "a gauge", gauge),
  histogram = add_type(histogram_t, "a histogram", histogram),
}
add_type(family_t, "a metric with labels", family, " (:with gives the one to count with)")

-- ---- definitions ------------------------------------------------------------------------------------------------------

-- So that nobody changes it later. What stands in it is checked by C.
local function copy(list)
  local copied = {}
  for index = 1, #list do copied[index] = list[index] end
  return copied
end

local function check_arguments(kind, name, help, labels, buckets)
  if not native.is_loading() then
    error("mr." .. kind .. ": only at the top level: keep what it returns in a local", 4)
  end
  local function check_type(value, wanted, what)
    if type(value) ~= wanted then
      error("mr." .. kind .. ": " .. what .. " is a " .. wanted .. ", not " .. told(value), 5)
    end
  end
  check_type(name, "string", "the name")
  check_type(help, "string", "the help text")
  check_type(labels, "table", "the list of labels")
  check_type(buckets, "table", "the list of buckets")
end

local function define(kind, name, help, labels, buckets)
  labels = labels == nil and {} or labels
  check_arguments(kind, name, help, labels, buckets)
  labels, buckets = copy(labels), copy(buckets)
  local number, problem = native.define(kind, name, help, labels, buckets)
  if not number then error("mr." .. kind .. ": " .. problem, 3) end
  families[number] = families[number] or {
    number = number,
    type = types[kind],
    name = name,
    labels_count = #labels,
    bounds = buckets,
    known = {},
    known_count = 0,
  }
  if #labels > 0 then return family_t(number) end
  return types[kind](number, native.series(number))
end

-- Not tail calls: the errors above name the line of the caller.
function mr.counter(name, help, labels)
  local metric = define("counter", name, help, labels, {})
  return metric
end

function mr.gauge(name, help, labels)
  local metric = define("gauge", name, help, labels, {})
  return metric
end

function mr.histogram(name, help, labels, buckets)
  local metric = define("histogram", name, help, labels, buckets == nil and default_buckets or buckets)
  return metric
end
