-- The filters of the bench for HAProxy: `filter lua.empty` and `filter lua.bytes`. What tcp_payload leaves alone is
-- passed on.

local function make(name, payload)
  local class = { id = name, tcp_payload = payload }
  class.__index = class

  function class:new()
    return setmetatable({}, class)
  end

  function class:start_analyze(_, channel)
    filter.register_data_filter(self, channel)
  end

  core.register_filter(name, class, function(self) return self end)
end

make("empty", function() end)

local sum = 0 -- kept, so that the reads are needed

make("bytes", function(_, _, channel)
  local data = channel:data(0, 10)
  if data and #data == 10 then
    local a, b, c, d, e, f, g, h, i, j = data:byte(1, 10)
    sum = a + b + c + d + e + f + g + h + i + j
  end
end)
