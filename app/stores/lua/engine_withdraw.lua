-- Take back an engine's report if it is still this agent's. KEYS: 1 row, 2 resident. ARGV: 1 epoch
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1], KEYS[2])
