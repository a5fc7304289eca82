-- Lengthen a lease that is still held. KEYS: 1 version. ARGV: 1 fence, 2 lease in seconds
if not holds(KEYS[1], ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'lease_until', string.format('%.3f', now() + tonumber(ARGV[2])))
return 1
