-- Reads ten bytes of every chunk of both directions.
local sum = 0 -- kept, so that the reads are needed

local function read(_, buf)
  if #buf >= 10 then
    sum = buf:byte(1) + buf:byte(2) + buf:byte(3) + buf:byte(4) + buf:byte(5)
      + buf:byte(6) + buf:byte(7) + buf:byte(8) + buf:byte(9) + buf:byte(10)
  end
end

return { from_client = read, from_server = read }
