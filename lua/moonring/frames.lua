-- Loops over frames whose lengths a function of the script tells, and over lines. Everything about how a frame is shown
-- and decided is in lua/framing.c; here is only what must call the script.
local shared = ...

local buf_members, live, new_frame = shared.buf_members, shared.live, shared.new_frame
local handle, natives, views = shared.handle, shared.natives, shared.views
local raise, raise_reason = shared.raise, shared.raise_reason
local format, type, tostring = shared.format, shared.type, shared.tostring

setfenv(1, {})

local FRAME, FAILED = 0, 2 -- of enum framing_step
local THERE, LATER = 0, 1 -- of enum reach
local SCRIPT, LINES = 0, 1 -- of enum loop_framer
local MOST = 2 ^ 53

-- What a loop goes on with; `for` has no room for it, and a closure would be one for each chunk. By the number of the
-- buf's view.
local loops = {}

local function loop_at(index)
  local loop = loops[index]
  if not loop then
    loop = {}
    loops[index] = loop
  end
  return loop
end

local function is_size(value)
  return type(value) == "number" and value >= 1 and value <= MOST and value % 1 == 0
end

-- The loop has ended: nothing of the script's is kept.
local function ended(index, step)
  if loops[index] then loops[index].length = false end
  if step == FAILED then raise_reason() end
end

-- The length of the frame at the beginning of the buf, or nil and how many bytes are needed to tell.
local function measure(self, view, length)
  local offset = view.offset
  local size, more = length(self)
  live(self)
  if view.offset ~= offset then raise("the function that tells a frame's length must only read") end
  if is_size(size) then return size end
  if size == false then raise("not this protocol: " .. tostring(more)) end
  if size ~= nil then raise(format("the length of a frame is a whole number from 1 on, not %s", tostring(size))) end
  if more == nil then more = 1 end
  if not is_size(more) then raise(format("how many more bytes are needed is a whole number from 1 on, not %s", tostring(more))) end
  return nil, view.size + more
end

-- Grows the buf to so many bytes; false when they are not there.
local function reach(index, size)
  return natives.reach(handle, index, size) == THERE
end

-- The next frame, when so many bytes are enough for that; or nil and how many are needed.
local function find(self, view, index, loop, needed)
  if not reach(index, needed) then return nil, needed end
  local size, more = measure(self, view, loop.length)
  if not size then return nil, more end
  local shown = size < loop.see and size or loop.see
  if not reach(index, shown) then return nil, shown end
  natives.show(handle, index, size, shown)
  return new_frame(view, index)
end

-- More is needed than at first. (Away from next_frame, since LuaJIT gives up on functions with loops that seldom run.)
local function find_with_more(self, view, index, loop, needed)
  local frame
  while reach(index, needed) do
    frame, needed = find(self, view, index, loop, needed)
    if frame then return frame end
  end
  return ended(index, natives.hold(handle, index, needed))
end

local function next_frame(self)
  local view = live(self)
  local index = self._view
  local step = natives.go_on(handle, index)
  if step ~= FRAME then return ended(index, step) end
  local loop = loops[index]
  local frame, needed = find(self, view, index, loop, loop.header)
  if frame then return frame end
  return find_with_more(self, view, index, loop, needed)
end

-- What is left of a loop that a hook has left by break or return: later whole frames pass unseen.
local function finish(self)
  local index = live(self) and self._view
  while next_frame(self) do
    if not natives.is_whole(handle, index) then
      return ended(index, natives.hold(handle, index, views[index].size + 1))
    end
  end
end

local function check_see(see)
  if see ~= nil and not is_size(see) then raise("how much of a frame is shown is a whole number of bytes from 1 on") end
  return see or 0
end

function buf_members.frames(self, header, length, see)
  live(self)
  local index = self._view
  if not is_size(header) then raise("frames(header_len, length_fn [, see]): header_len is a whole number from 1 on") end
  if type(length) ~= "function" then raise("frames(header_len, length_fn [, see]): length_fn must be a function") end
  if not natives.open(handle, index, SCRIPT, 0, check_see(see)) then raise_reason() end
  local loop = loop_at(index)
  loop.header, loop.length, loop.see = header, length, see or natives.hold_max(handle, index)
  return next_frame, self
end

-- ---- loops of C ---------------------------------------------------------------------------------------------------------

local function next_of_framer(self)
  local view = live(self)
  local step = natives.next(handle, self._view)
  if step == FRAME then return new_frame(view, self._view) end
  if step == FAILED then raise_reason() end
end

-- For iterators: `return open(buf, framer, prefix, see)`.
local function open(self, framer, prefix, see)
  live(self)
  if not natives.open(handle, self._view, framer, prefix, check_see(see)) then raise_reason() end
  return next_of_framer, self
end
shared.open = open

-- A line with its end, of at most `max` bytes; the last one may have none.
function buf_members.lines(self, max)
  return open(self, LINES, 0, max)
end

return finish
