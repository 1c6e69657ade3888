-- KEYS: session. ARGV: lock, epoch that the caller has or 0, milliseconds; to claim it also owner, id, and epoch that the
-- client knows or 0.
-- Nothing; -1 for another lock; 0 if the caller has the session; else without a claim its epoch and the record, and with
-- one its new epoch, the record, the epoch of that, 1 if the server that had the session is there, and for how many milliseconds no owner has written it since it
-- was claimed, or -1.
local found = redis.call('HMGET', KEYS[1], 'lock', 'epoch', 'owner', 'record', 'bare')
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
if not ARGV[4] then
    return {tonumber(found[2]), found[4]}
end
-- A store that has lost a claim gets an epoch above that of the server that it has forgotten.
local before, known = tonumber(found[2]), tonumber(ARGV[6])
local epoch = before + 1
if known > before and known < before + 1000 then
    epoch = known + 1
end
-- Until an owner writes it, the last one that did may still give more of it.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local bare = tonumber(found[5] or now)
redis.call('HSET', KEYS[1], 'epoch', epoch, 'owner', ARGV[4], 'number', 0, 'bare', string.format('%.0f', bare))
local heard = redis.call('PUBLISH', 'aloud:r:' .. found[3], ARGV[5] .. ' ' .. epoch)
return {epoch, found[4], before, heard > 0 and 1 or 0, found[5] and now - bare or -1}
