-- Set fields of a hash that exists. KEYS: 1 hash. ARGV: 1 fields
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], unpack(cjson.decode(ARGV[1])))
return 1
