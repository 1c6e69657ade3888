-- KEYS: channel of a server. ARGV: message.
return redis.call('PUBLISH', KEYS[1], ARGV[1])
