-- KEYS: ticket. ARGV: milliseconds. 1 for the first one that asks, 0 for all others.
if redis.call('SET', KEYS[1], '', 'NX', 'PX', ARGV[1]) then
    return 1
end
return 0
