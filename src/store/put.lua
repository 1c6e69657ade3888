-- KEYS: session. ARGV: epoch, owner, lock, record, milliseconds, number. 1 if it was written, or a later one of the same
-- owner is there; 0 if the session was claimed.
local found = redis.call('HMGET', KEYS[1], 'epoch', 'number')
local epoch = tonumber(found[1] or 0)
if epoch > tonumber(ARGV[1]) then
    return 0
end
if epoch == tonumber(ARGV[1]) and tonumber(found[2] or 0) > tonumber(ARGV[6]) then
    return 1
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'owner', ARGV[2], 'lock', ARGV[3], 'record', ARGV[4], 'number', ARGV[6])
redis.call('HDEL', KEYS[1], 'bare')
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1
