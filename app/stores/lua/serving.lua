-- List what serves of a tenant, unless nothing has changed since it was last listed.
-- KEYS: 1 memories, 2 revision. ARGV: 1 prefix of memory keys, 2 prefix of version keys, 3 revision that was listed
-- Returns the revision, and, where it is another, for each memory: id, version, name, metadata, generalist, adapter,
-- parts
local revision = redis.call('GET', KEYS[2]) or touch(KEYS[2])
if revision == ARGV[3] then return {revision} end
local rows = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local memory = redis.call('HMGET', ARGV[1] .. id, 'current', 'name', 'metadata', 'generalist')
  local current = memory[1]
  local version = current and current ~= '0' and redis.call('HMGET', ARGV[2] .. id .. ':' .. current, 'adapter', 'parts')
  if version and version[1] then
    local row = {id, current, memory[2], memory[3], memory[4] or 'false', version[1], version[2] or '[]'}
    for _, field in ipairs(row) do rows[#rows + 1] = field end
  end
end
return {revision, rows}
