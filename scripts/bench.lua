-- Sends messages signed beforehand for scripts/bench: each exactly once, or with "again" all of them
-- over and over, which makes duplicates.
-- wrk gives every thread its own Lua state: each reads its own share of the file and counts what
-- it sends. After SECONDS a connection falls silent instead of being cut off, so that every
-- message sent is also answered and the count of answers can be compared with the rows on disk.
--   wrk … -s bench.lua URL -- FILE THREADS SECONDS [again]

local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long seconds; long nanoseconds; } bench_time;
  int clock_gettime(int clock, bench_time *time);
]]
local CLOCK_MONOTONIC = 1
local time = ffi.new("bench_time")

local function now()
  ffi.C.clock_gettime(CLOCK_MONOTONIC, time)
  return tonumber(time.seconds) + tonumber(time.nanoseconds) / 1e9
end

local threads = {}

function setup(thread)
  thread:set("index", #threads)
  table.insert(threads, thread)
end

function init(args)
  local count = tonumber(args[2])
  duration = tonumber(args[3])
  again = args[4] == "again"
  sent, ran_out = 0, 0
  file = assert(io.open(args[1], "r"))
  local size = file:seek("end")
  -- A line belongs to the share that its first byte lies in.
  local first = math.floor(size * index / count)
  last = math.floor(size * (index + 1) / count)
  position = 0
  if first > 0 then
    file:seek("set", first - 1)
    position = first + #file:read("*l")
  else
    file:seek("set", 0)
  end
  start = position
  head = "POST " .. wrk.path .. " HTTP/1.1\r\nHost: " .. wrk.host ..
    "\r\nContent-Type: application/json\r\nX-Signature: "
  -- wrk asks its first thread once for a request that it only measures and never sends.
  rehearsal = index == 0
end

function request()
  if rehearsal then
    rehearsal = false
    return "GET /health/live HTTP/1.1\r\nHost: " .. wrk.host .. "\r\n\r\n"
  end
  if not stop_at then
    stop_at = now() + duration
  elseif now() >= stop_at then
    return ""
  end
  if position >= last and again then
    file:seek("set", start)
    position = start
  elseif position >= last then
    ran_out = 1
    return ""
  end
  local line = file:read("*l")
  position = position + #line + 1
  local tab = line:find("\t", 1, true)
  local body = line:sub(tab + 1)
  sent = sent + 1
  return head .. line:sub(1, tab - 1) .. "\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body
end

-- There is no response(): it would make wrk hand every answer to Lua, which costs the machine more
-- than the service does. wrk's own counters are exact: answers, and those of status 400 and above.
function done(summary, latency, requests)
  local sent, ran_out = 0, 0
  for _, thread in ipairs(threads) do
    sent = sent + thread:get("sent")
    ran_out = ran_out + thread:get("ran_out")
  end
  local errors = summary.errors
  io.write(string.format("result %d %d %d %d %d %.2f %.2f\n", sent, summary.requests, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout, ran_out,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
