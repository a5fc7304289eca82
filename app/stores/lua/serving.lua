-- List what serves of a tenant, unless it is what the caller has seen.
-- KEYS: 1 memories. ARGV: 1 prefix of memory keys, 2 prefix of version keys, 3 digest of what was seen
-- Returns the digest, and, where it is another, for each memory: id, version, name, metadata, generalist, adapter
local rows = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local memory = redis.call('HMGET', ARGV[1] .. id, 'current', 'name', 'metadata', 'generalist')
  local current = memory[1]
  local adapter = current and current ~= '0' and redis.call('HGET', ARGV[2] .. id .. ':' .. current, 'adapter')
  if adapter then
    for _, part in ipairs({id, current, memory[2], memory[3], memory[4] or 'false', adapter}) do
      rows[#rows + 1] = part
    end
  end
end
local digest = redis.sha1hex(table.concat(rows, '\n'))
if digest == ARGV[3] then return {digest} end
return {digest, rows}
