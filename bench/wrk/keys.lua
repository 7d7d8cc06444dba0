-- Requests of random keys for wrk: METHOD, VSIZE (bytes of a value), KEYS (how many keys), PREFIX (of the path).
-- METHOD=FILL puts every key once, in order.
local method = os.getenv("METHOD") or "PUT"
local keys = tonumber(os.getenv("KEYS") or "10000")
local prefix = os.getenv("PREFIX") or "/kv/load/"
local body = string.rep("x", tonumber(os.getenv("VSIZE") or "100"))
local at = 0

function init(args)
  math.randomseed(os.time())
end

function request()
  if method == "FILL" then
    at = at % keys + 1
    return wrk.format("PUT", prefix .. string.format("key%08d", at), nil, body)
  end
  local path = prefix .. string.format("key%08d", math.random(1, keys))
  if method == "GET" then
    return wrk.format("GET", path)
  end
  return wrk.format("PUT", path, nil, body)
end

function done(summary, latency)
  io.write(string.format("RESULT %d %d %.2f %.2f\n", summary.requests,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
