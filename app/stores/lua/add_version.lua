-- Queue the next version of a memory. KEYS: 1 memory, 2 version, 3 events, 4 jobs, 5 contents, 6 memories
-- ARGV: 1 number expected to be the latest, 2 memory fields, 3 version fields, 4 event, 5 job, 6 now, 7 content, 8 id,
--       9 prefix of memory keys
if redis.call('EXISTS', KEYS[1]) == 0 then return {'missing', ''} end
if redis.call('HGET', KEYS[2], 'created_at') == ARGV[6] then return {'ok', ''} end  -- sent again: the reply was lost
local latest = redis.call('HGET', KEYS[1], 'latest')
if latest ~= ARGV[1] then return {'conflict', latest} end
local same = redis.call('HGET', KEYS[5], ARGV[7])
if same and same ~= ARGV[8] then return {'duplicate', same} end
local before = redis.call('HGET', KEYS[1], 'content')
redis.call('HSET', KEYS[1], unpack(cjson.decode(ARGV[2])))
hand_on(KEYS[5], before, ARGV[8], KEYS[6], ARGV[9])
redis.call('HSET', KEYS[5], ARGV[7], ARGV[8])
redis.call('HSET', KEYS[2], unpack(cjson.decode(ARGV[3])))
redis.call('XADD', KEYS[3], '*', unpack(cjson.decode(ARGV[4])))
redis.call('ZADD', KEYS[4], ARGV[6], ARGV[5])
return {'ok', ''}
