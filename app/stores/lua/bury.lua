-- Tombstone a memory: gone for every reader at once, its erasure owed, its jobs fenced off.
-- KEYS: 1 names, 2 contents, 3 memories, 4 memory, 5 tombstone, 6 erasures, 7 jobs, 8 revision
-- ARGV: 1 id, 2 tombstone fields, 3 owed member, 4 now, 5 job prefix, 6 prefix of memory keys
if redis.call('EXISTS', KEYS[4]) == 0 then return 0 end
local row = redis.call('HMGET', KEYS[4], 'name', 'content')
redis.call('HDEL', KEYS[1], cjson.decode('[' .. row[1] .. ']')[1])
redis.call('ZREM', KEYS[3], ARGV[1])
hand_on(KEYS[2], row[2], ARGV[1], KEYS[3], ARGV[6])
local latest = tonumber(redis.call('HGET', KEYS[4], 'latest'))
for number = 1, latest do redis.call('ZREM', KEYS[7], ARGV[5] .. number) end
redis.call('DEL', KEYS[4])
redis.call('HSET', KEYS[5], unpack(cjson.decode(ARGV[2])))
redis.call('HSET', KEYS[5], 'versions', latest)  -- one may have been added since the memory was read
redis.call('ZADD', KEYS[6], ARGV[4], ARGV[3])
touch(KEYS[8])
return latest
