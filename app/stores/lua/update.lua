-- Set fields of a memory that exists. KEYS: 1 memory, 2 revision. ARGV: 1 fields
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], unpack(cjson.decode(ARGV[1])))
local clock = redis.call('TIME')
redis.call('SET', KEYS[2], clock[1] .. '.' .. clock[2])
return 1
