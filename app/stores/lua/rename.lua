-- Give a memory another name that nobody has. KEYS: 1 names, 2 memory, 3 revision
-- ARGV: 1 name, 2 name as JSON, 3 id, 4 now
if redis.call('EXISTS', KEYS[2]) == 0 then return {'missing', ''} end
local holder = redis.call('HGET', KEYS[1], ARGV[1])
if holder and holder ~= ARGV[3] then return {'name_taken', holder} end
local old = cjson.decode('[' .. redis.call('HGET', KEYS[2], 'name') .. ']')[1]
redis.call('HDEL', KEYS[1], old)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('HSET', KEYS[2], 'name', ARGV[2], 'updated_at', ARGV[4])
touch(KEYS[3])
return {'ok', ''}
