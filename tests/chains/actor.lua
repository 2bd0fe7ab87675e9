-- Does to the bytes of a session what its plan says, one step after the other. Plans are drawn by plan.c, and what must
-- come out is computed by model.c, for whole streams. Nothing here may depend on how the bytes came in.
local mr = require "moonring"

local p = mr.params {
  plans = mr.required "string", -- a file with a line for each session, filter and direction
  position = 0,                 -- of this filter in its chain
  filters = 1,                  -- in the chain
  hold_max = 0,
  hooks = "",
}

local lines = mr.lines(p.plans)
local numbers = { from_client = 0, from_server = 1 }

-- ---- plans --------------------------------------------------------------------------------------------------------------

-- Of a frame: its second byte tells. A header of one byte is not enough to know.
local function length_function(modulus, scale)
  return function(b)
    if #b < 2 then return nil, 1 end
    return 2 + b:byte(2) % modulus * scale
  end
end

local function read_plan(text)
  local plan = { at = 1, tail = "" }
  for verb, a, b, c, d, words in text:gmatch("(%a+) (%d+) (%d+) (%d+) (%d+) (%a*);") do
    local step = { verb = verb, a = tonumber(a), b = tonumber(b), c = tonumber(c), d = tonumber(d), words = words }
    if verb == "frames" then step.length = length_function(step.a, step.b) end
    if verb == "tail" then
      plan.tail = words
    else
      plan[#plan + 1] = step
    end
  end
  return plan
end

local function plan_of(conn, direction)
  local plan = conn[direction .. "_plan"]
  if not plan then
    local number = ((conn.id - 1) * p.filters + p.position) * 2 + numbers[direction]
    plan = read_plan(lines[number + 1])
    plan.direction = direction
    conn[direction .. "_plan"] = plan
  end
  return plan
end

-- All that is left is passed.
local function finish(plan)
  plan.at = #plan + 1
  return false
end

-- ---- steps: each returns whether the next one may follow at once --------------------------------------------------------

local steps = {}

function steps.pass(_, buf, step)
  buf:pass(step.a)
  return true
end

function steps.drop(_, buf, step)
  buf:drop(step.a)
  return true
end

function steps.put(_, buf, step)
  buf:put(step.words)
  return true
end

function steps.write(conn, _, step, plan)
  local side = plan.direction == "from_client" and conn.server or conn.client
  side:write(step.words)
  return true
end

local function reverse(buf, size)
  buf:replace(1, size, buf:sub(1, size):reverse())
  return true
end

-- Holds until so many are there. At the end with too few: insists, or leaves them.
local function hold(buf, size, plan, insists)
  if #buf >= size then return true end
  if buf.eof and not insists then return finish(plan) end
  buf:need(size)
  return false
end

function steps.need(_, buf, step, plan)
  return hold(buf, step.a, plan, step.b == 1) and reverse(buf, step.a)
end

function steps.replace(_, buf, step, plan)
  if not hold(buf, step.a, plan) then return false end
  buf:replace(step.a, step.b, step.words)
  return true
end

function steps.wait(_, buf, step, plan)
  if buf:wait(step.a) then return reverse(buf, step.a) end
  buf:put("!")
  return finish(plan)
end

-- A line of at most so many bytes.
function steps.line(_, buf, step)
  local size = buf:find("\n")
  if not size or size > step.a then size = #buf >= step.a and step.a or nil end
  if not size and not buf.eof then
    buf:need()
    return false
  end
  return reverse(buf, size or #buf)
end

local function decide(frame)
  local way = frame:byte(1) % 6
  if way == 1 then
    frame:pass()
  elseif way == 2 then
    frame:drop()
  elseif way == 3 then
    frame:replace("[" .. tostring(frame):reverse() .. "]")
  elseif way == 4 then
    frame:replace(1, math.min(2, #frame), "ab")
  elseif way == 5 then
    frame:replace(#frame + 1, #frame, "zz")
  end
end

-- The loop is the last step: it goes on in every later call, until so many frames were seen.
local function count_frame(step, plan)
  plan.frames = (plan.frames or 0) + 1
  return plan.frames == step.d
end

local function leave_loop(conn, plan)
  if plan.frames == nil or plan[plan.at].d ~= plan.frames then return false end
  conn:detach(plan.direction)
  return finish(plan)
end

function steps.frames(conn, buf, step, plan)
  for frame in buf:frames(step.d % 2 + 1, step.length, step.c > 0 and step.c or nil) do
    local size = #frame >= 2 and step.length(frame) or frame.size
    local shown = math.min(size, step.c > 0 and step.c or p.hold_max)
    if frame.size ~= size or #frame ~= shown then error("a frame of " .. frame.size .. " shows " .. #frame) end
    decide(frame)
    if count_frame(step, plan) then break end
  end
  return leave_loop(conn, plan)
end

function steps.lines(conn, buf, step, plan)
  for line in buf:lines() do
    local ends = line:find("\n")
    if ends and ends ~= #line then error("a line of " .. #line .. " ends at " .. ends) end
    decide(line)
    if count_frame(step, plan) then break end
  end
  return leave_loop(conn, plan)
end

function steps.sleep(_, _, step)
  mr.sleep(step.a / 1e6)
  return true
end

function steps.detach(conn, _, _, plan)
  conn:detach(plan.direction)
  return finish(plan)
end

function steps.close(conn) conn:close() end
function steps.reject(conn, _, step) conn:reject(step.words) end

-- What was decided before the wait is sent, and nothing is decided behind it.
function steps.fail()
  mr.sleep(0.0001)
  error("as planned")
end

-- ---- hooks --------------------------------------------------------------------------------------------------------------

-- These need no byte: they follow the step in front of them at once.
local needs_no_byte = { put = true, write = true, sleep = true, detach = true }

local function run(conn, buf, direction)
  local plan = plan_of(conn, direction)
  local step = plan[plan.at]
  while step and (needs_no_byte[step.verb] or #buf > 0) do
    if not steps[step.verb](conn, buf, step, plan) then return end
    plan.at = plan.at + 1
    step = plan[plan.at]
  end
end

local all = {
  from_client = function(conn, buf) run(conn, buf, "from_client") end,
  from_server = function(conn, buf) run(conn, buf, "from_server") end,
  client_eof = function(conn) conn.server:write(plan_of(conn, "from_client").tail) end,
  server_eof = function(conn) conn.client:write(plan_of(conn, "from_server").tail) end,
}

local hooks = {}
for name in p.hooks:gmatch("[%a_]+") do hooks[name] = all[name] end
return hooks
