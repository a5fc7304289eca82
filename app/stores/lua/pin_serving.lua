-- Pin what serves of a memory that is pinned, and nothing else of it.
-- KEYS: 1 memory, 2 pinned. ARGV: 1 prefix of the keys of its versions
local memory = redis.call('HMGET', KEYS[1], 'pinned', 'current', 'latest')
if not memory[3] then return 0 end
for number = 1, tonumber(memory[3]) do
  local row = redis.call('HMGET', ARGV[1] .. number, 'adapter', 'parts')
  if row[1] then
    local adapters = cjson.decode('[' .. row[1] .. ']')
    for _, part in ipairs(cjson.decode(row[2] or '[]')) do adapters[#adapters + 1] = part end
    local serves = memory[1] == 'true' and number == tonumber(memory[2])
    redis.call(serves and 'SADD' or 'SREM', KEYS[2], unpack(adapters))
  end
end
return 1
