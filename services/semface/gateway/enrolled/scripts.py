"""What Redis does in one step, as Lua: a record, the change that indexes follow and the audit entry, or none."""

from typing import Final

# Whoever is put or removed leaves every vector set, also where the option was on once and is off now. Where there is
# none, no command of Redis 8 is used.
_LEAVE_VECTORS: Final = """
for _, name in ipairs(redis.call('SMEMBERS', KEYS[5])) do redis.call('VREM', KEYS[5] .. ':' .. name, ARGV[1]) end
"""

PUT: Final = f"""
-- KEYS: bucket, expiries, changes, audit, vectors. ARGV: pseudonym, value, expiry or '', old value or '', longest
-- changes, longest audit, vector set or '', vector, attributes, then the fields of the audit entry. Returns 1 for a new
-- subject, 0 for a replaced one, -1 where the value is not the old one.
local before = redis.call('HGET', KEYS[1], ARGV[1])
if ARGV[4] ~= '' and before ~= ARGV[4] then return -1 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if ARGV[3] ~= '' then redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
elseif before then redis.call('ZREM', KEYS[2], ARGV[1]) end
{_LEAVE_VECTORS}
if ARGV[7] ~= '' then
  redis.call('SADD', KEYS[5], ARGV[7])
  redis.call('VADD', KEYS[5] .. ':' .. ARGV[7], 'FP32', ARGV[8], ARGV[1], 'SETATTR', ARGV[9])
end
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[5], '*', 's', ARGV[1])
if ARGV[10] then redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[6], '*', unpack(ARGV, 10)) end
return before and 0 or 1
"""

REMOVE: Final = f"""
-- KEYS: bucket, expiries, changes, audit, vectors, further keys to delete. ARGV: pseudonym, longest changes, longest
-- audit, then the fields of the audit entry. Returns whether there was a record. It works on a full server too: where
-- no change can be noted, the stream is dropped, and every index reads anew.
local removed = redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
{_LEAVE_VECTORS}
for place = 6, #KEYS do redis.call('DEL', KEYS[place]) end
if removed == 0 then return 0 end
local noted = redis.pcall('XADD', KEYS[3], 'MAXLEN', '~', ARGV[2], '*', 's', ARGV[1])
if type(noted) == 'table' and noted.err then redis.call('DEL', KEYS[3]) end
redis.pcall('XADD', KEYS[4], 'MAXLEN', '~', ARGV[3], '*', unpack(ARGV, 4))
return removed
"""

FILL: Final = """
-- KEYS: bucket, vectors. ARGV: pseudonym, value, vector set, vector, attributes. Puts the vector of a record into its
-- set where the record is still that value.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return end
redis.call('SADD', KEYS[2], ARGV[3])
redis.call('VADD', KEYS[2] .. ':' .. ARGV[3], 'FP32', ARGV[4], ARGV[1], 'SETATTR', ARGV[5])
"""

VECTOR_COUNTS: Final = """
-- KEYS: vectors, then the buckets. Returns how many records there are, then name and size of each vector set.
local told = {0}
for place = 2, #KEYS do told[1] = told[1] + redis.call('HLEN', KEYS[place]) end
for _, name in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local size = redis.call('VCARD', KEYS[1] .. ':' .. name)
  if size == 0 then redis.call('SREM', KEYS[1], name)
  else told[#told + 1] = name; told[#told + 1] = size end
end
return told
"""

COUNT: Final = """
-- KEYS: counter. ARGV: seconds that it lives from its first count on. Returns the count and the seconds left.
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return {count, redis.call('TTL', KEYS[1])}
"""

ATTEMPT: Final = """
-- KEYS: bucket, attempts, misses, audit. ARGV: pseudonym, seconds that an attempt counts, longest audit, then the
-- fields of the audit entry. Returns the record or nil, the attempts and the seconds until they are forgotten, the
-- misses or nil and the seconds until those are.
local value = redis.call('HGET', KEYS[1], ARGV[1])
local count = redis.call('INCR', KEYS[2])
if count == 1 then redis.call('EXPIRE', KEYS[2], ARGV[2]) end
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[3], '*', unpack(ARGV, 4))
return {value, count, redis.call('TTL', KEYS[2]), redis.call('GET', KEYS[3]), redis.call('TTL', KEYS[3])}
"""

MISS: Final = """
-- KEYS: misses, audit. ARGV: seconds that the misses live from the first on, longest audit, then the fields of the
-- audit entry.
if redis.call('INCR', KEYS[1]) == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', unpack(ARGV, 3))
"""
