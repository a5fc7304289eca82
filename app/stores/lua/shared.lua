-- What several scripts do: put in front of each of them.

-- Return the time in seconds since the epoch.
local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1000000
end

-- Say whether a fencing token is still the last one that was given out for a version, and its lease not over.
local function holds(version, fence)
  local row = redis.call('HMGET', version, 'fence', 'lease_until')
  return row[1] == fence and tonumber(row[2]) >= now()
end

-- Let every reader know that what serves may have changed; returns the new revision.
local function touch(revision)
  local clock = redis.call('TIME')
  local new = clock[1] .. '.' .. clock[2]
  redis.call('SET', revision, new)
  return new
end

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
