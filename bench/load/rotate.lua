-- wrk script: keys take turns and no two bodies are alike.
-- LOAD_HEADS: request heads, one per key, each ended by an empty line. LOAD_BODY: one body with twelve @ where LOAD_SEED
-- (four digits) and a count go.
local heads, count = {}, 0
local file = assert(io.open(os.getenv("LOAD_HEADS"), "rb"))
for head in file:read("*a"):gmatch("(.-\r\n\r\n)") do heads[#heads + 1] = head end
local body = assert(io.open(os.getenv("LOAD_BODY"), "rb")):read("*a")
local at = assert(body:find(string.rep("@", 12), 1, true))
local before, after = body:sub(1, at - 1) .. os.getenv("LOAD_SEED"), body:sub(at + 12)

function request()
  count = count + 1
  return heads[count % #heads + 1] .. before .. string.format("%08d", count) .. after
end
