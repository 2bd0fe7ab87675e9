-- What runs beside the hooks: mr.spawn, mr.after, mr.every, mr.all, mr.race; and what waits: mr.sleep, mr.signal.
local native, mr, task, signal = ...

local error, pcall, select, type, unpack = error, pcall, select, type, unpack
local spawn_beside, sleep, cancel = native.spawn_beside, native.sleep, native.cancel
local new_signal, signal_set, signal_wait = native.signal, native.signal_set, native.signal_wait

local DONE = 0 -- of enum wake

mr.spawn = native.spawn
mr.on_retire = native.on_retire
mr.after = native.after
mr.signal = new_signal

function mr.every(seconds, run, options)
  local where = options
  if type(options) == "table" then where = options.where end
  if where ~= nil and where ~= "all" then
    error('mr.every: the third argument is { where = "all" } or nothing', 2)
  end
  return native.every(seconds, run, where == "all")
end

function mr.sleep(seconds)
  sleep(seconds)
end

task.__index = { cancel = cancel }

signal.__index = {
  set = signal_set,
  -- Whether it was set, rather than the time over.
  wait = function(self, seconds)
    return signal_wait(self, seconds) == DONE
  end,
}

-- ---- several at a time ------------------------------------------------------------------------------------------------

local function check_functions(name, ...)
  native.check_may_wait()
  for index = 1, select("#", ...) do
    if type(select(index, ...)) ~= "function" then
      error("mr." .. name .. ": argument " .. index .. " must be a function", 3)
    end
  end
end

-- Each gets (index, whether it returned, what it returned or raised).
local function start(run, index, ended)
  return spawn_beside(function()
    ended(index, pcall(run))
  end)
end

-- Waits for all functions, which run at the same time, and returns the first value of each. An error of one is raised
-- here, when all have ended.
function mr.all(...)
  check_functions("all", ...)
  local count = select("#", ...)
  local left, results, failure, done = count, {}, nil, new_signal()
  if count == 0 then return end
  local function ended(index, good, value)
    if good then results[index] = value else failure = failure or { value } end
    left = left - 1
    if left == 0 then signal_set(done) end
  end
  for index = 1, count do start(select(index, ...), index, ended) end
  signal_wait(done)
  if failure then error(failure[1], 0) end
  return unpack(results, 1, count)
end

-- Returns what the first of the functions returns, or raises what it raises; the others are cancelled.
function mr.race(...)
  check_functions("race", ...)
  local tasks, first, done = {}, nil, new_signal()
  if select("#", ...) == 0 then return end
  local function ended(_, ...)
    if first then return end
    first = { count = select("#", ...), ... }
    signal_set(done)
  end
  for index = 1, select("#", ...) do tasks[index] = start(select(index, ...), index, ended) end
  signal_wait(done)
  for index = 1, #tasks do cancel(tasks[index]) end
  if not first[1] then error(first[2], 0) end
  return unpack(first, 2, first.count)
end
