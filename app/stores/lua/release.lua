-- Give a held job up. KEYS: 1 version. ARGV: 1 fence, 2 seconds before it may be taken up again, 3 whether the attempt counts, 0 or 1
if not holds(KEYS[1], ARGV[1]) then return 0 end
local wait = tonumber(ARGV[2])
redis.call('HSET', KEYS[1], 'lease_until', wait > 0 and string.format('%.3f', now() + wait) or '0.0')
if ARGV[3] == '0' then redis.call('HINCRBY', KEYS[1], 'attempt', -1) end
return 1
