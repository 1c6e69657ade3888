-- KEYS: session. ARGV: record or nothing, milliseconds, id. 1 if it was given; 0 if a later owner has written the
-- session, or it is gone.
local found = redis.call('HMGET', KEYS[1], 'epoch', 'owner', 'bare')
if not found[3] then
    return 0
end
if ARGV[1] ~= '' then
    redis.call('HSET', KEYS[1], 'record', ARGV[1])
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
redis.call('PUBLISH', 'aloud:g:' .. found[2], ARGV[3] .. ' ' .. found[1] .. ' ' .. ARGV[1])
return 1
