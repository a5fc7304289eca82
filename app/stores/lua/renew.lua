-- Lengthen a lease that is still held. KEYS: 1 version. ARGV: 1 fence, 2 lease in seconds
local row = redis.call('HMGET', KEYS[1], 'fence', 'lease_until')
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
if row[1] ~= ARGV[1] or tonumber(row[2]) < now then return 0 end
redis.call('HSET', KEYS[1], 'lease_until', string.format('%.3f', now + tonumber(ARGV[2])))
return 1
