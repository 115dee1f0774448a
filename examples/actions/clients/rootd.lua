-- Asks rootd to run an action, from nginx with its Lua module: require("rootd").run("ipsec-reload")
local rootd = {}
function rootd.run(action, values, socket)  -- values: JSON, such as '{"connection": "berlin"}'
    local request = '{"action": "' .. action .. '", "values": ' .. (values or "{}") .. "}"
    local connection = ngx.socket.tcp()
    connection:settimeout(10000)
    local ok, reason = connection:connect("unix:" .. (socket or "/run/edgeward-rootd/rootd.sock"))
    if not ok then return nil, reason end
    connection:send(string.char(0, 0, math.floor(#request / 256), #request % 256) .. request)
    local a, b, c, d = string.byte(connection:receive(4) or "\0\0\0\0", 1, 4)
    return connection:receive(((a * 256 + b) * 256 + c) * 256 + d)  -- JSON: outcome, exit, output, …
end
return rootd
