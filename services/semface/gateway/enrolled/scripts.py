"""What Redis does in one step, as Lua: a record, the change that indexes follow and the audit entry, or none."""

from typing import Final

PUT: Final = """
-- KEYS: bucket, expiries, changes, audit. ARGV: pseudonym, value, expiry or '', old value or '', longest changes,
-- longest audit, then the fields of the audit entry. Returns 1 for a new subject, 0 for a replaced one, -1 where the
-- value is not the old one.
local before = redis.call('HGET', KEYS[1], ARGV[1])
if ARGV[4] ~= '' and before ~= ARGV[4] then return -1 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if ARGV[3] ~= '' then redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
elseif before then redis.call('ZREM', KEYS[2], ARGV[1]) end
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[5], '*', 's', ARGV[1])
if ARGV[7] then redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[6], '*', unpack(ARGV, 7)) end
return before and 0 or 1
"""

REMOVE: Final = """
-- KEYS: bucket, expiries, changes, audit, further keys to delete. ARGV: pseudonym, longest changes, longest audit, then
-- the fields of the audit entry. Returns whether there was a record. It works on a full server too: where no change can
-- be noted, the stream is dropped, and every index reads anew.
local removed = redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
for place = 5, #KEYS do redis.call('DEL', KEYS[place]) end
if removed == 0 then return 0 end
local noted = redis.pcall('XADD', KEYS[3], 'MAXLEN', '~', ARGV[2], '*', 's', ARGV[1])
if type(noted) == 'table' and noted.err then redis.call('DEL', KEYS[3]) end
redis.pcall('XADD', KEYS[4], 'MAXLEN', '~', ARGV[3], '*', unpack(ARGV, 4))
return removed
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
