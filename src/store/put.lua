-- KEYS: session. ARGV: epoch, owner, lock, record, milliseconds. 1 if it was written, 0 if the session was claimed.
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if epoch and tonumber(epoch) > tonumber(ARGV[1]) then
    return 0
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'owner', ARGV[2], 'lock', ARGV[3], 'record', ARGV[4])
redis.call('HDEL', KEYS[1], 'bare')
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1
