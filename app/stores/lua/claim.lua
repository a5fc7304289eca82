-- Give one trainer the job: a new fencing token and a lease, unless somebody holds it or it is over.
-- KEYS: 1 version, 2 memory, 3 events, 4 jobs
-- ARGV: 1 open states (JSON list), 2 lease in seconds, 3 event when a crash is being repaired, 4 job, 5 now
local state = redis.call('HGET', KEYS[1], 'state')
if not state or redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('ZREM', KEYS[4], ARGV[4])
  return 0
end
local open = false
for _, one in ipairs(cjson.decode(ARGV[1])) do open = open or one == state end
if not open then
  redis.call('ZREM', KEYS[4], ARGV[4])
  return 0
end
local row = redis.call('HMGET', KEYS[1], 'lease_until', 'updated_at', 'fence')
if tonumber(row[1]) > now() then
  return row[2] == ARGV[5] and tonumber(row[3]) or 0  -- claimed by this very call: sent again, for the reply was lost
end
if state ~= '"queued"' then redis.call('XADD', KEYS[3], '*', unpack(cjson.decode(ARGV[3]))) end
redis.call('HINCRBY', KEYS[1], 'attempt', 1)
redis.call('HSET', KEYS[1], 'state', '"queued"', 'lease_until', string.format('%.3f', now() + tonumber(ARGV[2])), 'updated_at', ARGV[5])
return redis.call('HINCRBY', KEYS[1], 'fence', 1)
