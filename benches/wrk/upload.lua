-- Uploads the file PICTURE with PUT, as multipart/form-data, with the access token TOKEN, each time from another client.
-- Prints one line of JSON at the end.

local file = assert(io.open(os.getenv("PICTURE"), "rb"))
local boundary = "----gatehouse-bench"
wrk.method = "PUT"
wrk.headers["Authorization"] = "Bearer " .. os.getenv("TOKEN")
wrk.headers["Content-Type"] = "multipart/form-data; boundary=" .. boundary
wrk.body = "--" .. boundary .. '\r\nContent-Disposition: form-data; name="file"; filename="p.png"\r\n\r\n'
  .. file:read("*a") .. "\r\n--" .. boundary .. "--\r\n"

function request()
  wrk.headers["X-Forwarded-For"] =
    string.format("10.%d.%d.%d", math.random(250), math.random(250), math.random(250))
  return wrk.format()
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"per_second":%.1f,"p50_ms":%.3f,"p99_ms":%.3f,"failed":%d,"refused":%d}\n',
    summary.requests / summary.duration * 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    errors.connect + errors.read + errors.write + errors.timeout, errors.status))
end
