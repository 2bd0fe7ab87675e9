-- A bad network, to see how programs bear it: delay, little bandwidth, connections that break.
--
--   moonring run -c examples/chaos.yaml
--   curl http://127.0.0.1:8093/
--
-- `latency` delays what comes from either side, so that an answer takes twice as long; `jitter` adds as much again by
-- chance. `bandwidth` is bytes a second in each direction. Once both directions together have carried `cut_after`, both
-- sides are reset. Whatever is 0 does nothing.
local mr = require "moonring"

local p = mr.params {
  latency = mr.duration "0s",
  jitter = mr.duration "0s",
  bandwidth = mr.size "0B",
  cut_after = mr.size "0B",
}

-- buf.age is how long the bytes have been here: those that came while others were delayed are not delayed twice.
local function delay(_, buf)
  local wait = p.latency + p.jitter * mr.random() - buf.age
  if wait > 0 then mr.sleep(wait) end
end

local is_slow = p.latency + p.jitter > 0

return {
  connected = function(conn)
    if p.bandwidth > 0 then
      conn:limit { from_client = p.bandwidth, from_server = p.bandwidth }
    end
    if p.cut_after > 0 then
      conn:quota(p.cut_after, function() conn:reset() end)
    end
  end,

  -- Left out, bytes never enter Lua.
  from_client = is_slow and delay or nil,
  from_server = is_slow and delay or nil,
}
