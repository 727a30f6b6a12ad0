-- Each request carries the next line of the file TOKENS as its token; no token if TOKENS is not set.
-- With NEW_CONNECTIONS, each request carries Connection: close.
local tokens, n = {}, 0
if os.getenv("NEW_CONNECTIONS") then wrk.headers["Connection"] = "close" end
if os.getenv("TOKENS") then
  for line in io.lines(os.getenv("TOKENS")) do tokens[#tokens + 1] = "Bearer " .. line end
end

request = function()
  if #tokens > 0 then
    n = n % #tokens + 1
    wrk.headers["Authorization"] = tokens[n]
  end
  return wrk.format("GET", wrk.path)
end

done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    "\nMEASURED %d %d %d %d %d %d\n",
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end
