-- KEYS: session. ARGV: epoch.
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if epoch and tonumber(epoch) > tonumber(ARGV[1]) then
    return 0
end
return redis.call('DEL', KEYS[1])
