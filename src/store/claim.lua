-- KEYS: session. ARGV: lock, epoch that the caller has or 0, owner, milliseconds, id.
-- Nothing; -1 for another lock; 0 if the caller has the session; else its new epoch and the record.
local found = redis.call('HMGET', KEYS[1], 'lock', 'epoch', 'owner', 'record')
if not found[1] then
    return false
end
if found[1] ~= ARGV[1] then
    return -1
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
if found[2] == ARGV[2] then
    return 0
end
local epoch = tonumber(found[2]) + 1
redis.call('HSET', KEYS[1], 'epoch', epoch, 'owner', ARGV[3])
redis.call('PUBLISH', 'aloud:r:' .. found[3], ARGV[5] .. ' ' .. epoch)
return {epoch, found[4]}
