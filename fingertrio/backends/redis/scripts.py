"""Lua 5.1 scripts that Redis runs: the steps that must be atomic. `place_scripts` has those for recent statuses.

A script runs alone: Redis carries out no other command between its first and its last. All keys of a script are passed
to it and share a hash slot. Redis does not undo the writes of a script that fails later, so a script refuses what it
must refuse before its first write.

Other programs can write under our keys. A script that finds data there which no script of ours can have written answers
`MISUSED reason`, and has changed nothing; entries of lists and sets that make no sense are skipped or removed.

Times are Redis's: one clock for all nodes, so that `since` orders the statuses of all of them. For each user it grows
strictly, even if that clock is set back. Lua's numbers are exact up to 2^53 microseconds, the year 2255.
"""

from __future__ import annotations

from fingertrio.backends.redis.lua import CHECK, CLOCK, PLACE, PUBLISH

# The one script that runs often: one call, since each costs about a microsecond.
READ = """
-- KEYS: user
-- ARGV: how many bytes the values may have together
-- Returns what is stored for the user.
local values = redis.call('HMGET', KEYS[1], 'lasting', 'passing', 'name', 'details')
local size = 0
for i = 1, 4 do size = size + #(values[i] or '') end
if size <= tonumber(ARGV[1]) then return values end
return redis.error_reply('MISUSED it has ' .. size .. ' bytes, the limit is ' .. ARGV[1])
"""

SET = (
    CHECK
    + CLOCK
    + PUBLISH
    + PLACE
    + """
-- KEYS: user, history, users, passing, count, changes, recent
-- ARGV: user, text, until or -, how many statuses to keep, for how many microseconds (0: for ever), backlog,
--       1 if the user must have a status already, how many bytes the full name and the details may have to be returned
-- Returns the stored status, the full name and the details; nil: `until` has passed or the user has no status, and
-- nothing was done.
local wrong = mistyped({'hash', 'list', 'set', 'zset', 'string', 'stream', 'zset'})
if wrong then return wrong end
local user, text, ends, keep, age = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local now = clock()
if ends ~= '-' and tonumber(ends) <= now then return false end
local held = redis.call('HMGET', KEYS[1], 'lasting', 'last', 'passing')
if ARGV[7] == '1' and not held[1] then
  local holds = held[3] and whole(string.match(held[3], '^%d+ (%d+) '))
  if not holds or holds <= now then return false end
end
local since = string.format('%.0f', math.max(now, (held[2] and whole(held[2]) or 0) + 1))
local status = since .. ' ' .. ends .. ' ' .. text

redis.call('LPUSH', KEYS[2], status)
redis.call('LTRIM', KEYS[2], 0, keep - 1)
if age > 0 then
  -- If the user sets no further status, Redis deletes the history when the newest status is too old.
  redis.call('PEXPIRE', KEYS[2], math.ceil(age / 1000))
  local oldest = redis.call('LINDEX', KEYS[2], -1)
  while (whole(string.match(oldest, '^%d+')) or 0) < now - age do
    redis.call('RPOP', KEYS[2])
    oldest = redis.call('LINDEX', KEYS[2], -1)
  end
else
  redis.call('PERSIST', KEYS[2])
end

if ends == '-' then
  redis.call('HSET', KEYS[1], 'lasting', status, 'last', since)
  redis.call('HDEL', KEYS[1], 'passing')
  redis.call('SADD', KEYS[3], user)
  redis.call('ZREM', KEYS[4], user)
else
  redis.call('HSET', KEYS[1], 'passing', status, 'last', since)
  redis.call('ZADD', KEYS[4], ends, user)
end
place(KEYS[7], KEYS[5], user, status)
publish(KEYS[5], KEYS[6], ARGV[6], user, held[1] and '0' or '1', since, ends)
local profile = redis.call('HMGET', KEYS[1], 'name', 'details')
if #(profile[1] or '') + #(profile[2] or '') > tonumber(ARGV[8]) then return {status, false, false} end
return {status, profile[1], profile[2]}
"""
)

DUE = (
    CHECK
    + CLOCK
    + """
-- KEYS: passing
-- Returns some users whose status has ended, and the microseconds until the next one ends, or nil.
local wrong = mistyped({'zset'})
if wrong then return wrong end
local now = string.format('%.0f', clock())
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 100)
local after = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '9007199254740992', 'WITHSCORES', 'LIMIT', 0, 1)
return {due, after[2] and string.format('%.0f', after[2] - now) or false}
"""
)

END = (
    CHECK
    + CLOCK
    + PUBLISH
    + PLACE
    + """
-- KEYS: passing, count, changes, user, recent
-- ARGV: member of `passing`, backlog
-- Ends a status that is due. Every node runs this at the same time: the first one ends it, the others find it ended.
-- Afterwards the member is due no more, whatever it is: a member that stayed due would be tried again and again.
local wrong = mistyped({'zset', 'string', 'stream', 'zset'})
if wrong then return wrong end
local held = {}
if redis.call('TYPE', KEYS[5]).ok == 'hash' then held = redis.call('HMGET', KEYS[5], 'lasting', 'passing') end
local ends = held[2] and whole(string.match(held[2], '^%d+ (%d+) '))
if ends and ends > clock() then
  redis.call('ZADD', KEYS[1], string.format('%.0f', ends), ARGV[1])
  return 0
end
redis.call('ZREM', KEYS[1], ARGV[1])
if not ends then return 0 end
redis.call('HDEL', KEYS[5], 'passing')
place(KEYS[4], KEYS[2], ARGV[1], held[1])
publish(KEYS[2], KEYS[3], ARGV[2], ARGV[1], held[1] and '0' or '1', '-', '-')
return 1
"""
)

HISTORY = (
    CHECK
    + CLOCK
    + """
-- KEYS: user, history
-- ARGV: before, limit, for how many microseconds statuses are kept (0: for ever), how many bytes a status may have
-- Returns {since, when it ended or -, text}, newest first. A lasting status ended when the next lasting one was set; a
-- temporary one at its `until`, or when any other status was set. The present lasting status is included even if the
-- history is too short to contain it. Entries that are no statuses are skipped.
local wrong = mistyped({'hash', 'list'})
if wrong then return wrong end
local before, limit, age, longest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local cutoff = age > 0 and clock() - age or 0
local lasting = redis.call('HGET', KEYS[1], 'lasting')
local found, position, newer, replaced = {}, 0, false, false

local function add(status, recent)
  if #status > longest then return end
  local since, ends, text = string.match(status, '^(%d+) (%S+) (.*)$')
  local began = whole(since)
  if not began or not (ends == '-' or whole(ends)) or not (recent or began >= cutoff) then return end
  local ended = ends == '-' and (replaced or '-') or ends
  if ends ~= '-' and newer and tonumber(newer) < tonumber(ends) then ended = newer end
  if began < before and #found < limit then found[#found + 1] = {since, ended, text} end
  newer = since
  if ends == '-' then replaced = since end
end

while #found < limit do
  local some = redis.call('LRANGE', KEYS[2], position, position + 99)
  if #some == 0 then break end
  for _, status in ipairs(some) do
    add(status, position == 0 or status == lasting)
    if status == lasting then lasting = false end
    position = position + 1
  end
end
if lasting then add(lasting, true) end
return found
"""
)

SET_PROFILE = (
    CHECK
    + PUBLISH
    + PLACE
    + """
-- KEYS: user, count, changes, recent
-- ARGV: user, full name or empty, details or empty, backlog
-- Returns what is stored for the user.
local wrong = mistyped({'hash', 'string', 'stream', 'zset'})
if wrong then return wrong end
for field, value in pairs({name = ARGV[2], details = ARGV[3]}) do
  if value == '' then redis.call('HDEL', KEYS[1], field) else redis.call('HSET', KEYS[1], field, value) end
end
mark(KEYS[4], KEYS[2])
publish(KEYS[2], KEYS[3], ARGV[4], ARGV[1], '0', '-', '-')
return redis.call('HMGET', KEYS[1], 'lasting', 'passing', 'name', 'details')
"""
)

LAST_CHANGE = (
    CHECK
    + """
-- KEYS: count, changes
-- Returns the number of changes, and the id of the last entry of the stream or nil.
local wrong = mistyped({'string', 'stream'})
if wrong then return wrong end
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
return {redis.call('GET', KEYS[1]) or '0', last and last[1] or false}
"""
)

REPLACE = """
-- KEYS: any one string
-- ARGV: new value, expected value or empty if the key must not exist
-- Returns 1; 0: the key has another value, and nothing was done.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
return 1
"""

LAYOUT = (
    CHECK
    + """
-- KEYS: layout
-- ARGV: version, shards
-- Returns the version and the number of shards that all nodes use: those of the first node.
local wrong = mistyped({'hash'})
if wrong then return wrong end
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('HSET', KEYS[1], 'version', ARGV[1], 'shards', ARGV[2]) end
return redis.call('HMGET', KEYS[1], 'version', 'shards')
"""
)
