-- Stop desiring adapters that nobody asked for since the caller looked. KEYS: 1 desired. ARGV: name, score, name, ...
for index = 1, #ARGV, 2 do
  local score = redis.call('ZSCORE', KEYS[1], ARGV[index])
  if score and tonumber(score) <= tonumber(ARGV[index + 1]) then redis.call('ZREM', KEYS[1], ARGV[index]) end
end
