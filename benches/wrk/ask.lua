-- What wrk asks and reports for scripts/bench. From the environment: TOKEN, an access token; TAG, for
-- `If-None-Match`; USERS, how many made-up users there are: with it the URL's path is followed by the id of a random
-- one. Prints one line of JSON at the end.

local token, users = os.getenv("TOKEN"), tonumber(os.getenv("USERS") or "")
if token then wrk.headers["Authorization"] = "Bearer " .. token end
local tag = os.getenv("TAG")
if tag then wrk.headers["If-None-Match"] = tag end

if users then
  math.randomseed(os.time())
  function request()
    local id = string.format("01900000-0000-7000-8000-%012x", math.random(users))
    return wrk.format("GET", wrk.path .. id)
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"per_second":%.1f,"p50_ms":%.3f,"p99_ms":%.3f,"failed":%d,"refused":%d}\n',
    summary.requests / summary.duration * 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    errors.connect + errors.read + errors.write + errors.timeout, errors.status))
end
