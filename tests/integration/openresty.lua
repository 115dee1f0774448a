-- What lua-resty-peter_sslers 0.5.0 does on the wire, written anew for the tests: its two requests, its
-- two ways to read Redis, and a shared cache that keeps certificates and failures until it is flushed.
-- Its workers' own cache is left out: nothing can empty that one.
local cjson = require "cjson.safe"
local ssl = require "ngx.ssl"

local cache = ngx.shared.cert_cache
local KEEP = 600
local MEMBERS = { "certificate_signed__latest_multi", "certificate_signed__latest_single" }

local _M = {}

local function connected(host, port)
    local sock = ngx.socket.tcp()
    sock:settimeouts(2000, 2000, 60000)
    local ok = sock:connect(host, port)
    return ok and sock
end

local function request(host, port, head, body)
    local sock = connected(host, port)
    if not sock then return nil end
    sock:send(head .. "\r\nHost: " .. host .. ":" .. port .. "\r\nUser-Agent: lua-resty-http\r\n"
        .. (body and "Content-Length: " .. #body .. "\r\n" or "") .. "\r\n" .. (body or ""))
    local answer = sock:receive("*a")
    sock:close()
    local status = answer and tonumber(answer:match("^HTTP/1.1 (%d+)"))
    return status, answer and answer:match("\r\n\r\n(.*)$")
end

local function from_api(api, name)
    local status, body
    if api.autocert then
        status, body = request(api.host, api.port,
            "POST /" .. api.secret .. "/api/domain/autocert.json?openresty=1 HTTP/1.1", "domain_name=" .. name)
    else
        status, body = request(api.host, api.port,
            "GET /" .. api.secret .. "/domain/" .. name .. "/config.json?openresty=1 HTTP/1.1")
    end
    local value = status == 200 and cjson.decode(body)
    for _, member in ipairs(value and MEMBERS or {}) do
        local item = value[member]
        if item ~= cjson.null and item ~= nil then
            return item["fullchain"]["pem"], item["private_key"]["pem"]
        end
    end
end

local function redis(host, port)
    local sock = connected(host, port)
    if not sock then return nil end
    local function reply()
        local line = sock:receive("*l")
        local kind, rest = line:sub(1, 1), line:sub(2)
        if kind == "$" then
            if rest == "-1" then return nil end
            local text = sock:receive(tonumber(rest))
            sock:receive(2)
            return text
        elseif kind == "*" then
            local found = {}
            for i = 1, tonumber(rest) do found[i] = reply() end
            return found
        end
        return rest
    end
    return function(...)
        local words = { ... }
        local parts = { "*" .. #words }
        for _, word in ipairs(words) do
            parts[#parts + 1] = "$" .. #word
            parts[#parts + 1] = word
        end
        sock:send(table.concat(parts, "\r\n") .. "\r\n")
        return reply()
    end
end

local function from_redis(where, name)
    local ask = redis(where.host, where.port)
    if not ask then return nil end
    ask("SELECT", tostring(where.db))
    if where.strategy == 2 then
        local found = ask("HMGET", "d2:" .. name, "p", "f")
        return found[2], found[1]
    end
    local ids = ask("HMGET", "d1:" .. name, "c", "p", "i")
    if not (ids[1] and ids[2] and ids[3]) then return nil end
    local key = ask("GET", "p:" .. ids[2])
    local certificate = ask("GET", "c:" .. ids[1])
    local rest = ask("GET", "i:" .. ids[3])
    if not (key and certificate and rest) then return nil end
    return certificate .. "\n" .. rest, key
end

function _M.handshake(api, where)
    local name = ssl.server_name()
    if not name then return end
    local chain, key = cache:get(name .. ":c"), cache:get(name .. ":k")
    if chain == "x" then return end
    if not chain and where then chain, key = from_redis(where, name) end
    if not chain and api then chain, key = from_api(api, name) end
    cache:set(name .. ":c", chain or "x", KEEP)
    cache:set(name .. ":k", key or "x", KEEP)
    if not (chain and key) then return end
    ssl.clear_certs()
    assert(ssl.set_cert(assert(ssl.parse_pem_cert(chain))))
    assert(ssl.set_priv_key(assert(ssl.parse_pem_priv_key(key))))
end

function _M.expire()
    ngx.header.content_type = "application/json"
    cache:flush_all()
    ngx.say('{"result": "success", "expired": "all", "server_version": "0.5.0"}')
end

function _M.status()
    ngx.header.content_type = "application/json"
    local valid, invalid = {}, {}
    for _, key in pairs(cache:get_keys(1024)) do
        if key:sub(-2) == ":c" then
            local list = cache:get(key) == "x" and invalid or valid
            list[#list + 1] = '"' .. key:sub(1, -3) .. '"'
        end
    end
    ngx.say('{"result": "success", "keys": {"valid": [' .. table.concat(valid, ",") .. '], "invalid": ['
        .. table.concat(invalid, ",") .. '], "autocert": []}, "config": {"expiries": '
        .. '{"ngx.shared.cert_cache": 600, "resty.lrucache": 0}}, "server_version": "0.5.0"}')
end

return _M
