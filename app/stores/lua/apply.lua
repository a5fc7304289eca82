-- Change one version, and its memory with it, if the version still is what the caller thinks it is.
-- KEYS: 1 version, 2 memory, 3 events, 4 jobs, 5 revision, 6 pinned
-- ARGV: 1 expected states (JSON list, [] for any), 2 fence ("" for none), 3 version fields, 4 memory fields,
--       5 event, 6 "open" | "close" | "", 7 job, 8 now
if redis.call('EXISTS', KEYS[2]) == 0 or redis.call('EXISTS', KEYS[1]) == 0 then return {'missing', ''} end
local state = redis.call('HGET', KEYS[1], 'state')
local expected = cjson.decode(ARGV[1])
local fits = #expected == 0
for _, one in ipairs(expected) do fits = fits or one == state end
if ARGV[2] ~= '' and not holds(KEYS[1], ARGV[2]) then return {'lease_lost', state} end
local version, memory, event = cjson.decode(ARGV[3]), cjson.decode(ARGV[4]), cjson.decode(ARGV[5])
if not fits then
  local mine = true  -- the row as this call writes it, its time included: sent again, for the reply was lost
  for i = 1, #version, 2 do mine = mine and redis.call('HGET', KEYS[1], version[i]) == version[i + 1] end
  return {mine and 'ok' or 'conflict', state}
end
if #version > 0 then redis.call('HSET', KEYS[1], unpack(version)) end
local serving = tonumber(redis.call('HGET', KEYS[2], 'current') or '0')
for i = 1, #memory, 2 do
  local older = memory[i] == 'current' and tonumber(memory[i + 1]) < serving  -- published after a later one
  if not older then redis.call('HSET', KEYS[2], memory[i], memory[i + 1]) end
end
local current = tonumber(redis.call('HGET', KEYS[2], 'current') or '0')
if current ~= serving and redis.call('HGET', KEYS[2], 'pinned') == 'true' then
  pin_serving(KEYS[2], KEYS[6], string.match(KEYS[1], '.*:'))
end
if #event > 0 then redis.call('XADD', KEYS[3], 'MAXLEN', '~', '5000', '*', unpack(event)) end
if ARGV[6] == 'open' then redis.call('ZADD', KEYS[4], ARGV[8], ARGV[7]) end
if ARGV[6] == 'close' then redis.call('ZREM', KEYS[4], ARGV[7]) end
if #memory > 0 then touch(KEYS[5]) end
return {'ok', state}
