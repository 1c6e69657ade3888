-- KEYS: session. ARGV: epoch, owner, lock, record, milliseconds. 1 if it was written; if the session was claimed, its
-- epoch and its owner.
local found = redis.call('HMGET', KEYS[1], 'epoch', 'owner')
if found[1] and tonumber(found[1]) > tonumber(ARGV[1]) then
    return {tonumber(found[1]), found[2]}
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'owner', ARGV[2], 'lock', ARGV[3], 'record', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1
