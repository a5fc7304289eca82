-- Accept a memory, and the guards that are to be trained on top of it: name, content, rows, job and first event of each
-- in one step, or nothing.
-- KEYS: 1 names, 2 contents, 3 memories, 4 memory, 5 version, 6 events, 7 jobs, 8 idempotency (or ""), 9 revision,
--       then for each guard: names, memories, memory, version, events
-- ARGV: 1 name, 2 content, 3 memory id, 4 memory fields, 5 version fields, 6 event,
--       7 job, 8 now, 9 idempotency value, 10 idempotency ttl in seconds, 11 guards (JSON list of lists: name, id,
--       memory fields, version fields, event, job), 12 whether a second copy of the content is refused, 0 or 1
if redis.call('EXISTS', KEYS[4]) == 1 then return {'created', ARGV[3]} end  -- sent again: the reply was lost
if ARGV[9] ~= '' then
  local before = redis.call('GET', KEYS[8])
  local kept = before and redis.call('ZSCORE', KEYS[3], cjson.decode(before)[1])  -- not so once it is deleted
  if kept then return {'idempotent', before} end
end
local named = redis.call('HGET', KEYS[1], ARGV[1])
if named then return {'name_taken', named} end
local guards = cjson.decode(ARGV[11])
for i, guard in ipairs(guards) do
  local other = redis.call('HGET', KEYS[5 * i + 5], guard[1])
  if other then return {'guard_name_taken', other} end
end
local same = redis.call('HGET', KEYS[2], ARGV[2])
if same and ARGV[12] == '1' then return {'duplicate', same} end
redis.call('HSETNX', KEYS[2], ARGV[2], ARGV[3])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('ZADD', KEYS[3], 0, ARGV[3])
redis.call('HSET', KEYS[4], unpack(cjson.decode(ARGV[4])))
redis.call('HSET', KEYS[5], unpack(cjson.decode(ARGV[5])))
redis.call('XADD', KEYS[6], '*', unpack(cjson.decode(ARGV[6])))
redis.call('ZADD', KEYS[7], ARGV[8], ARGV[7])
for i, guard in ipairs(guards) do
  local first = 5 * i + 5
  redis.call('HSET', KEYS[first], guard[1], guard[2])
  redis.call('ZADD', KEYS[first + 1], 0, guard[2])
  redis.call('HSET', KEYS[first + 2], unpack(cjson.decode(guard[3])))
  redis.call('HSET', KEYS[first + 3], unpack(cjson.decode(guard[4])))
  redis.call('XADD', KEYS[first + 4], '*', unpack(cjson.decode(guard[5])))
  redis.call('ZADD', KEYS[7], ARGV[8], guard[6])
end
if ARGV[9] ~= '' then redis.call('SET', KEYS[8], ARGV[9], 'EX', ARGV[10]) end
touch(KEYS[9])
return {'created', ARGV[3]}
