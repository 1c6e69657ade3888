-- KEYS: client. ARGV: owner, its connections, its sessions, milliseconds for which that counts, then for each rate what
-- it may save up, what it gains in a millisecond, and what the owner has spent of it; 0 for no rate.
-- Connections and sessions of the other owners, then what is left of each rate.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kept = tonumber(ARGV[4])
local mine, longest = 'o:' .. ARGV[1], kept
if ARGV[2] == '0' and ARGV[3] == '0' then
    redis.call('HDEL', KEYS[1], mine)
else
    redis.call('HSET', KEYS[1], mine, ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. now)
end
local fields = redis.call('HGETALL', KEYS[1])
local connections, sessions, rates = 0, 0, {}
for n = 1, #fields, 2 do
    local name, value = fields[n], fields[n + 1]
    if string.sub(name, 1, 2) == 'o:' then
        local c, s, at = string.match(value, '^(%d+) (%d+) (%d+)$')
        if not c or now - tonumber(at) > kept then
            redis.call('HDEL', KEYS[1], name)
        elseif name ~= mine then
            connections, sessions = connections + tonumber(c), sessions + tonumber(s)
        end
    else
        rates[name] = value
    end
end
local answer = {tostring(connections), tostring(sessions)}
for n = 5, #ARGV, 3 do
    local most, gain, spent = tonumber(ARGV[n]), tonumber(ARGV[n + 1]), tonumber(ARGV[n + 2])
    local left = 0
    if most > 0 then
        local name = 'r:' .. n
        local had, at = string.match(rates[name] or '', '^(%S+) (%d+)$')
        left = had and math.min(most, tonumber(had) + (now - tonumber(at)) * gain) or most
        left = left - spent
        redis.call('HSET', KEYS[1], name, string.format('%.3f', left) .. ' ' .. now)
        longest = math.max(longest, math.ceil((most - left) / gain) + 1000)
    end
    answer[#answer + 1] = string.format('%.3f', left)
end
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', longest))
return answer
