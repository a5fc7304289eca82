-- Store one engine's report unless a newer agent of the same engine has reported.
-- KEYS: 1 row, 2 resident, 3 ids. ARGV: 1 epoch, 2 ttl in ms, 3 row fields, 4 resident fields, 5 id
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if epoch and tonumber(epoch) > tonumber(ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], unpack(cjson.decode(ARGV[3])))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local resident = cjson.decode(ARGV[4])
for index = 1, #resident, 2 do redis.call('HSET', KEYS[2], resident[index], resident[index + 1]) end
if #resident > 0 then redis.call('PEXPIRE', KEYS[2], ARGV[2]) end
redis.call('SADD', KEYS[3], ARGV[5])
return 1
