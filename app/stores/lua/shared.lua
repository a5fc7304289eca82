-- What several scripts do: put in front of each of them.

-- Pin what serves of a memory that is pinned, and nothing else of it; `versions` is what the keys of its versions begin with.
local function pin_serving(memory, pinned, versions)
  local row = redis.call('HMGET', memory, 'pinned', 'current', 'latest')
  for number = 1, tonumber(row[3] or '0') do
    local version = redis.call('HMGET', versions .. number, 'adapter', 'parts')
    if version[1] then
      local adapters = cjson.decode('[' .. version[1] .. ']')
      for _, part in ipairs(cjson.decode(version[2] or '[]')) do adapters[#adapters + 1] = part end
      local serves = row[1] == 'true' and number == tonumber(row[2])
      redis.call(serves and 'SADD' or 'SREM', pinned, unpack(adapters))
    end
  end
end

-- Name the oldest other memory with a content (`row`, as memories hold it) in place of the one that held it;
-- `prefix` is what the keys of memories begin with.
local function hand_on(contents, row, id, memories, prefix)
  local content = cjson.decode('[' .. row .. ']')[1]
  if redis.call('HGET', contents, content) ~= id then return end
  redis.call('HDEL', contents, content)
  for _, other in ipairs(redis.call('ZRANGE', memories, 0, -1)) do
    if redis.call('HGET', prefix .. other, 'content') == row then redis.call('HSETNX', contents, content, other) end
  end
end
