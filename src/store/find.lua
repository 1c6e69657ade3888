-- KEYS: session. ARGV: lock, epoch that the caller has or 0, milliseconds.
-- Nothing; -1 for another lock; 0 if the caller has the session; else the epoch and the record.
local found = redis.call('HMGET', KEYS[1], 'lock', 'epoch', 'record')
if not found[1] then
    return false
end
if found[1] ~= ARGV[1] then
    return -1
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if found[2] == ARGV[2] then
    return 0
end
return {tonumber(found[2]), found[3]}
