-- What wrk asks and reports, for wrk.py. Arguments: METHOD PATH BODY TURN; "-" for no body. If TURN is "new", each request has
-- a target that no request before had (GET) or a body that no request before had (POST: a comment in the XML).

local number = os.time() * 1000000  -- no round may repeat what another asked
local method, path, body, turn

init = function(arguments)
    method, path, body, turn = arguments[1], arguments[2], arguments[3], arguments[4]
    if body == "-" then body = nil end
end

request = function()
    if turn ~= "new" then return wrk.format(method, path, nil, body) end
    number = number + 1
    if body == nil then return wrk.format(method, path .. "?" .. string.format("%d", number), nil, nil) end
    return wrk.format(method, path, nil, (body:gsub("<methodCall>", string.format("<methodCall><!--%d-->", number))))
end

done = function(summary, latency, _)
    local errors = summary.errors
    io.write(string.format(
        '\n{"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "refused": %d, "broken": %d}\n',
        summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
        errors.status, errors.connect + errors.read + errors.write + errors.timeout
    ))
end
