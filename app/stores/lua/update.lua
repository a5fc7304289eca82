-- Set fields of a memory that exists. KEYS: 1 memory, 2 revision. ARGV: 1 fields
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], unpack(cjson.decode(ARGV[1])))
touch(KEYS[2])
return 1
