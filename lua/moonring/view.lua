-- Bytes as scripts read them: buf, views of parts, and frames (lua/view.h).
--
-- Scripts hold cdata with numbers in constant fields. Every function here first checks the type of its cdata, since a
-- number or a table with metamethods would do for `self` otherwise; then `locate` finds the bytes, or raises an error;
-- then the type of each number. All of that costs nothing that matters once it is compiled. No pointer and no type gets
-- into the hands of a script.
local functions, addresses = ...

local ffi = require("ffi")
local char, format, gsub = string.char, string.format, string.gsub
local assert, pairs, setfenv, tostring, type = assert, pairs, setfenv, tostring, type
local cast, istype, text_of = ffi.cast, ffi.istype, ffi.string
local raise, raise_reason, wait = functions.raise, functions.raise_reason, functions.wait

ffi.cdef [[
struct moonring_view { /* struct view in view_table.h */
  double id;
  double epoch;
  double offset;
  double frame_at;
  double frame_size;
  double frame_shown;
  const uint8_t *start;
  uint32_t size;
  uint32_t ended;
};

struct moonring_exchange { /* struct view_exchange */
  const uint8_t *found;
  double found_size;
  double found_at;
  char name[512];
};

struct moonring_natives { /* struct view_natives */
  double (*find)(const uint8_t *bytes, double size, const char *text, double text_size);
  double (*find_any)(const uint8_t *bytes, double size, const char *set, double set_size);
  bool (*equal)(const uint8_t *bytes, const char *text, double size);
  double (*age)(void *views, uint32_t index);
  double (*hold_max)(void *views, uint32_t index);
  bool (*leave)(void *views, uint32_t index);
  void (*pass)(void *views, uint32_t index, double size);
  void (*drop)(void *views, uint32_t index, double size);
  bool (*settle)(void *views, uint32_t index);
  bool (*put)(void *views, uint32_t index, const char *text, double size);
  bool (*keep)(void *views, uint32_t index);
  bool (*need)(void *views, uint32_t index, double size);
  int (*reach)(void *views, uint32_t index, double size);
  bool (*open)(void *views, uint32_t index, int framer, uint32_t prefix, double see);
  int (*next)(void *views, uint32_t index);
  int (*go_on)(void *views, uint32_t index);
  void (*show)(void *views, uint32_t index, double whole, double shown);
  int (*hold)(void *views, uint32_t index, double size);
  bool (*is_whole)(void *views, uint32_t index);
  bool (*frame_check)(void *views, uint32_t index, double at);
  void (*frame_pass)(void *views, uint32_t index);
  bool (*frame_drop)(void *views, uint32_t index);
  bool (*frame_edit)(void *views, uint32_t index, double from, double to, const char *text, double size);
  bool (*frame_replace)(void *views, uint32_t index, const char *text, double size);
  double (*command_name)(void *views, uint32_t index);
  double (*command_key)(void *views, uint32_t index);
  int (*postgres_kind)(void *views, uint32_t index);
  int (*prefix_add)(void *views, double at, double bytes, double add, bool is_little, double size_max);
};

/* All of the bytes that a hook can read. */
struct moonring_buf {
  const double _id;
  const uint32_t _view;
};

/* A part of them, or of what was peeked. */
struct moonring_part {
  const double _epoch;
  const double _offset;
  const double _size;
  const uint32_t _view;
};

/* What a loop shows of a frame. */
struct moonring_frame {
  const double _epoch;
  const double _offset;
  const double _size;
  const uint32_t _view;
};
]]

local buf_type = ffi.typeof("struct moonring_buf")
local part_type = ffi.typeof("struct moonring_part")
local frame_type = ffi.typeof("struct moonring_frame")
local char_pointer = ffi.typeof("const char *")

local handle = ffi.cast("void *", addresses.handle)
local views = ffi.cast("struct moonring_view *", addresses.views)
local natives = ffi.cast("const struct moonring_natives *", addresses.natives)
local exchange = ffi.cast("struct moonring_exchange *", addresses.exchange)
assert(ffi.sizeof("struct moonring_view") == addresses.view_size)

-- What a script gets hold of leads to no global.
setfenv(1, {})

-- ---- finding the bytes --------------------------------------------------------------------------------------------------

local function direction_of(self)
  return self._view % 2 == 0 and "from_client" or "from_server"
end

local function raise_gone(self)
  if istype(buf_type, self) then
    raise("buf used after " .. direction_of(self) .. " returned (keep tostring(buf))")
  end
  if self._view % 4 >= 2 then
    raise("peeked bytes used after the next call on their endpoint, or the end of the hook (keep tostring(view))")
  end
  local kind = istype(frame_type, self) and "frame" or "view"
  raise(kind .. " used after " .. direction_of(self) .. " returned (keep tostring(" .. kind .. "))")
end

local function raise_passed(self)
  if istype(frame_type, self) then raise("frame used after the loop's next step (keep tostring(frame))") end
  raise("view of bytes that were passed or dropped already (keep tostring(view))")
end

local function raise_stranger()
  raise("a method of buf, a view or a frame is called with a colon: buf:byte(1)")
end

-- The view that the bytes lie in, at what offset there, and how many they are.
local function locate(self)
  if istype(buf_type, self) then
    local view = views[self._view]
    if view.id ~= self._id then raise_gone(self) end
    return view, 0, view.size
  end
  if not istype(frame_type, self) and not istype(part_type, self) then raise_stranger() end
  local view = views[self._view]
  if view.epoch ~= self._epoch then raise_gone(self) end
  local first, size = self._offset - view.offset, self._size
  if first < 0 or first + size > view.size then raise_passed(self) end
  return view, first, size
end

-- The same for what only a buf can do.
local function live(self)
  if not istype(buf_type, self) then raise("this method is called on buf, with a colon") end
  local view = views[self._view]
  if view.id ~= self._id then raise_gone(self) end
  return view
end

-- How far behind the first byte an index lies; nil when `width` bytes from there on are not all there.
local function position(index, size, width)
  if type(index) ~= "number" then
    if index ~= nil then raise("an index must be a number, not a " .. type(index)) end
    index = 1
  end
  if index < 0 then index = index + size + 1 end
  if index >= 1 and index + width - 1 <= size then return index - 1 end
end

-- As string.sub has it: whole numbers, 1 <= i, j <= size.
local function range(i, j, size)
  if i == nil then i = 1 end
  if j == nil then j = -1 end
  if type(i) ~= "number" or type(j) ~= "number" then raise("the bounds of a part must be numbers") end
  if i < 0 then i = i + size + 1 end
  if j < 0 then j = j + size + 1 end
  if not (i >= 1) then i = 1 end
  if not (j <= size) then j = size end
  if i > j then return 1, 0 end
  return i - i % 1, j - j % 1
end

-- ---- readers ------------------------------------------------------------------------------------------------------------

local readers = {}

local function length(self)
  local _, _, size = locate(self)
  return size
end

local function contents(self)
  local view, first, size = locate(self)
  return text_of(view.start + first, size)
end

function readers.byte(self, i)
  local view, first, size = locate(self)
  local at = position(i, size, 1)
  if at then return view.start[first + at] end
end
readers.u8 = readers.byte

function readers.i8(self, i)
  local view, first, size = locate(self)
  local at = position(i, size, 1)
  if not at then return nil end
  local value = view.start[first + at]
  return value < 0x80 and value or value - 0x100
end

function readers.u16be(self, i)
  local view, first, size = locate(self)
  local at = position(i, size, 2)
  if not at then return nil end
  local bytes = view.start + (first + at)
  return bytes[0] * 0x100 + bytes[1]
end

function readers.u16le(self, i)
  local view, first, size = locate(self)
  local at = position(i, size, 2)
  if not at then return nil end
  local bytes = view.start + (first + at)
  return bytes[1] * 0x100 + bytes[0]
end

function readers.u24be(self, i)
  local view, first, size = locate(self)
  local at = position(i, size, 3)
  if not at then return nil end
  local bytes = view.start + (first + at)
  return bytes[0] * 0x10000 + bytes[1] * 0x100 + bytes[2]
end

function readers.u24le(self, i)
  local view, first, size = locate(self)
  local at = position(i, size, 3)
  if not at then return nil end
  local bytes = view.start + (first + at)
  return bytes[2] * 0x10000 + bytes[1] * 0x100 + bytes[0]
end

local function u32be(bytes, at)
  return bytes[at] * 0x1000000 + bytes[at + 1] * 0x10000 + bytes[at + 2] * 0x100 + bytes[at + 3]
end

local function u32le(bytes, at)
  return bytes[at + 3] * 0x1000000 + bytes[at + 2] * 0x10000 + bytes[at + 1] * 0x100 + bytes[at]
end

function readers.u32be(self, i)
  local view, first, size = locate(self)
  local at = position(i, size, 4)
  if at then return u32be(view.start + (first + at), 0) end
end

function readers.u32le(self, i)
  local view, first, size = locate(self)
  local at = position(i, size, 4)
  if at then return u32le(view.start + (first + at), 0) end
end

-- Exact up to 2^53.
function readers.u64be(self, i)
  local view, first, size = locate(self)
  local at = position(i, size, 8)
  if not at then return nil end
  local bytes = view.start + (first + at)
  return u32be(bytes, 0) * 0x100000000 + u32be(bytes, 4)
end

function readers.u64le(self, i)
  local view, first, size = locate(self)
  local at = position(i, size, 8)
  if not at then return nil end
  local bytes = view.start + (first + at)
  return u32le(bytes, 4) * 0x100000000 + u32le(bytes, 0)
end

-- An unsigned reader's value as one of so many bits with a sign.
local function signed(read, bits)
  local half, whole = 2 ^ (bits - 1), 2 ^ bits
  return function(self, i)
    local value = read(self, i)
    if value and value >= half then return value - whole end
    return value
  end
end

readers.i16be, readers.i16le = signed(readers.u16be, 16), signed(readers.u16le, 16)
readers.i32be, readers.i32le = signed(readers.u32be, 32), signed(readers.u32le, 32)

-- A difference of two numbers above 2^53 would not be exact any more: the upper half has the sign.
function readers.i64be(self, i)
  local view, first, size = locate(self)
  local at = position(i, size, 8)
  if not at then return nil end
  local bytes = view.start + (first + at)
  local upper = u32be(bytes, 0)
  if upper >= 0x80000000 then upper = upper - 0x100000000 end
  return upper * 0x100000000 + u32be(bytes, 4)
end

function readers.i64le(self, i)
  local view, first, size = locate(self)
  local at = position(i, size, 8)
  if not at then return nil end
  local bytes = view.start + (first + at)
  local upper = u32le(bytes, 4)
  if upper >= 0x80000000 then upper = upper - 0x100000000 end
  return upper * 0x100000000 + u32le(bytes, 0)
end

local VARINT_MAX = 10 -- bytes of one with 64 bits

-- Seven bits a byte, the lowest first, and 0x80 where another byte follows (MQTT, Protocol Buffers). The value and the
-- index behind it; or nil and "more", or nil and "no" when it is too long.
function readers.varint(self, i)
  local view, first, size = locate(self)
  local at = position(i, size, 1)
  if not at then return nil, "more" end
  local bytes = view.start + (first + at)
  local value, factor = bytes[0], 128
  if value < 128 then return value, at + 2 end
  value = value - 128
  local left = size - at
  for index = 1, VARINT_MAX - 1 do
    if index >= left then return nil, "more" end
    local digit = bytes[index]
    if digit < 128 then return value + digit * factor, at + 2 + index end
    value = value + (digit - 128) * factor
    factor = factor * 128
  end
  return nil, "no"
end

function readers.sub(self, i, j)
  local view, first, size = locate(self)
  i, j = range(i, j, size)
  return text_of(view.start + (first + i - 1), j - i + 1)
end

function readers.view(self, i, j)
  local view, first, size = locate(self)
  i, j = range(i, j, size)
  return part_type(view.epoch, view.offset + first + i - 1, j - i + 1, self._view)
end

-- Plain, without patterns: where the text begins and ends, from init on.
function readers.find(self, text, init)
  local view, first, size = locate(self)
  if type(text) ~= "string" then raise("find(text [, init]): the text must be a string, not a " .. type(text)) end
  local at = position(init, size, 0)
  if not at then return nil end
  local found = natives.find(view.start + (first + at), size - at, text, #text)
  if found < 0 then return nil end
  local begins = at + found + 1
  return begins, begins + #text - 1
end

-- Where the first byte lies that is one of the set's, from init on.
function readers.find_any(self, set, init)
  local view, first, size = locate(self)
  if type(set) ~= "string" then raise("find_any(set [, init]): the set must be a string, not a " .. type(set)) end
  local at = position(init, size, 0)
  if not at then return nil end
  local found = natives.find_any(view.start + (first + at), size - at, set, #set)
  if found >= 0 then return at + found + 1 end
end

function readers.equal(self, i, text)
  local view, first, size = locate(self)
  local at = position(i, size, 0)
  if type(text) == "string" then
    return at ~= nil and at + #text <= size and natives.equal(view.start + (first + at), text, #text)
  end
  local other, other_first, other_size = locate(text)
  return at ~= nil and at + other_size <= size
    and natives.equal(view.start + (first + at), other.start + other_first, other_size)
end

function readers.starts(self, text)
  return readers.equal(self, 1, text)
end

-- The line that begins at i, without its end ("\n" or "\r\n"), and where the next one begins; nil when its end is not
-- there.
function readers.line(self, i)
  local view, first, size = locate(self)
  local at = position(i, size, 1)
  if not at then return nil end
  local bytes = view.start + (first + at)
  local found = natives.find(bytes, size - at, "\n", 1)
  if found < 0 then return nil end
  local ends = found > 0 and bytes[found - 1] == 0x0d and found - 1 or found
  return text_of(bytes, ends), at + found + 2
end

local hexes = {}
for value = 0, 255 do hexes[char(value)] = format("%02x", value) end

function readers.hex(self)
  return (gsub(contents(self), ".", hexes))
end

-- ---- verbs of buf -------------------------------------------------------------------------------------------------------

local verbs = {}

local MOST = 2 ^ 53

local function check_count(name, count)
  if type(count) ~= "number" or not (count >= 0 and count <= MOST) or count % 1 ~= 0 then
    raise(name .. "(n): n must be a whole number from 0 on")
  end
end

-- The bytes of what shall be put, as a C function takes them.
local function check_text(name, text)
  if type(text) == "string" then return text, #text end
  if not (istype(part_type, text) or istype(frame_type, text) or istype(buf_type, text)) then
    raise(name .. ": the bytes must be a string or a view, not a " .. type(text))
  end
  local view, first, size = locate(text)
  return cast(char_pointer, view.start + first), size
end

function verbs.pass(self, count)
  local view = live(self)
  if count ~= nil then check_count("pass", count) end
  if not natives.leave(handle, self._view) then raise_reason() end
  natives.pass(handle, self._view, count or view.size)
end

function verbs.drop(self, count)
  local view = live(self)
  if count ~= nil then check_count("drop", count) end
  if not natives.leave(handle, self._view) then raise_reason() end
  natives.drop(handle, self._view, count or view.size)
end

function verbs.put(self, text)
  live(self)
  if not natives.settle(handle, self._view) then raise_reason() end
  if not natives.put(handle, self._view, check_text("put", text)) then raise_reason() end
end

-- Bytes i to j, which are counted as string.sub counts; but j may lie beyond what has come.
function verbs.replace(self, i, j, text)
  local view = live(self)
  if not natives.leave(handle, self._view) then raise_reason() end
  if type(i) ~= "number" or type(j) ~= "number" then raise("replace(i, j, s): i and j must be numbers") end
  local size = view.size
  if i < 0 then i = i + size + 1 end
  if j < 0 then j = j + size + 1 end
  if not (i >= 1 and i <= size + 1 and j >= i - 1 and j <= MOST) or i % 1 ~= 0 or j % 1 ~= 0 then
    raise(format("replace(%g, %g, s): i is from 1 to #buf + 1, %d, and j from i - 1 on", i, j, size + 1))
  end
  local bytes, bytes_size = check_text("replace", text)
  natives.pass(handle, self._view, i - 1)
  if not natives.put(handle, self._view, bytes, bytes_size) then raise_reason() end
  natives.drop(handle, self._view, j - i + 1)
end

-- Within a loop over frames, the frame that was not decided is kept, too.
function verbs.need(self, count)
  local view = live(self)
  if count ~= nil then check_count("need", count) end
  if not natives.keep(handle, self._view) then raise_reason() end
  if count == nil then count = view.size + 1 end
  if count <= view.size then raise(format("need(%d): %d bytes are there already", count, view.size)) end
  if not natives.need(handle, self._view, count) then raise_reason() end
end

local THERE, LATER, NEVER = 0, 1, 2 -- of enum reach

function verbs.wait(self, count)
  local view = live(self)
  if count == nil then count = view.size + 1 end
  check_count("wait", count)
  local reach = natives.reach(handle, self._view, count)
  if reach == LATER then
    wait(self._view % 2, count)
    live(self)
    reach = natives.reach(handle, self._view, count)
  end
  if reach > NEVER then raise_reason() end
  return reach == THERE
end

-- ---- verbs of frames ----------------------------------------------------------------------------------------------------

local frame_verbs = {}

-- The frame can be decided.
local function check_frame(self)
  if not istype(frame_type, self) then raise("this method is called on a frame, with a colon: f:pass()") end
  locate(self)
  if not natives.frame_check(handle, self._view, self._offset) then raise_reason() end
end

function frame_verbs.pass(self)
  check_frame(self)
  natives.frame_pass(handle, self._view)
end

function frame_verbs.drop(self)
  check_frame(self)
  if not natives.frame_drop(handle, self._view) then raise_reason() end
end

local function replace_part(self, i, j, text)
  local size = self._size
  if type(i) ~= "number" or type(j) ~= "number" then raise("replace(i, j, s): i and j must be numbers") end
  if i < 0 then i = i + size + 1 end
  if j < 0 then j = j + size + 1 end
  if not (i >= 1 and i <= size + 1 and j >= i - 1 and j <= size) or i % 1 ~= 0 or j % 1 ~= 0 then
    raise(format("replace(%g, %g, s): i and j are within what is shown of the frame, %d bytes", i, j, size))
  end
  if not natives.frame_edit(handle, self._view, i - 1, j, check_text("replace", text)) then raise_reason() end
end

-- (text): all of the frame; (i, j, text): a part of what is shown, and the rest of the frame is passed.
function frame_verbs.replace(self, i, j, text)
  check_frame(self)
  if j ~= nil or text ~= nil then return replace_part(self, i, j, text) end
  if not natives.frame_replace(handle, self._view, check_text("replace", i)) then raise_reason() end
end

-- ---- what is looked up --------------------------------------------------------------------------------------------------

-- Adds names to a copy of the readers.
local function with_readers(names)
  local members = {}
  for name, reader in pairs(readers) do members[name] = reader end
  for name, member in pairs(names) do members[name] = member end
  return members
end

local function names_of(members, properties)
  local names = {}
  for name in pairs(members) do names[name] = true end
  for name in pairs(properties) do names[name] = true end
  return names
end

local function raise_unknown(kind, members, properties, name)
  local near = type(name) == "string" and functions.nearest(names_of(members, properties), name)
  raise(kind .. " has no '" .. tostring(name) .. "'" .. (near and " (did you mean '" .. near .. "'?)" or ""))
end

-- Members are functions, properties are values that a function tells.
local function metatable(kind, members, properties)
  return {
    __len = length,
    __tostring = contents,
    __index = function(self, name)
      local member = members[name]
      if member then return member end
      local property = properties[name]
      if not property then raise_unknown(kind, members, properties, name) end
      return property(self)
    end,
    __newindex = function() raise(kind .. " takes no fields: put them on conn") end,
  }
end

local buf_properties = {
  -- Nothing comes behind these bytes.
  eof = function(self) return live(self).ended ~= 0 end,
  -- Seconds since the first byte lies here.
  age = function(self)
    live(self)
    return natives.age(handle, self._view)
  end,
}

local frame_properties = {
  -- Of the whole frame; nil as long as that is not known.
  size = function(self)
    local view = locate(self)
    if view.frame_at ~= self._offset then raise_passed(self) end
    if view.frame_size > 0 then return view.frame_size end
  end,
}

local buf_members = with_readers(verbs)
ffi.metatype(buf_type, metatable("buf", buf_members, buf_properties))
ffi.metatype(part_type, metatable("view", with_readers({}), {}))
ffi.metatype(frame_type, metatable("frame", with_readers(frame_verbs), frame_properties))

-- ---- for view.c, and for the files that follow --------------------------------------------------------------------------

local function new_buf(id, index)
  return buf_type(id, index)
end

local function new_part(epoch, offset, size, index)
  return part_type(epoch, offset, size, index)
end

local function locate_for_c(value)
  if not (istype(buf_type, value) or istype(part_type, value) or istype(frame_type, value)) then return false end
  local view, first, size = locate(value)
  exchange.found, exchange.found_size = view.start + first, size
  return true
end

-- The frame that was found at the beginning of the buf with this view.
local function new_frame(view, index)
  return frame_type(view.epoch, view.frame_at, view.frame_shown, index)
end

-- The view of the frame, which must be the one that a loop shows.
local function shown_frame(frame, name)
  if not istype(frame_type, frame) then raise(name .. ": the argument must be a frame, not a " .. type(frame)) end
  local view = locate(frame)
  if view.frame_at ~= frame._offset then raise_passed(frame) end
  return view
end

local shared = {
  buf_members = buf_members,
  exchange = exchange,
  format = format,
  handle = handle,
  heads = functions.heads,
  live = live,
  natives = natives,
  nearest = functions.nearest,
  new_frame = new_frame,
  pairs = pairs,
  raise = raise,
  raise_reason = raise_reason,
  shown_frame = shown_frame,
  text_of = text_of,
  tostring = tostring,
  type = type,
  views = views,
}

return shared, new_buf, new_part, locate_for_c
