"""Lua 5.1 scripts that Redis runs: the steps that must be atomic.

A script runs alone: Redis carries out no other command between its first and its last. All keys of a script are passed
to it and share a hash slot. Redis does not undo the writes of a script that fails later, so a script refuses what it
must refuse before its first write.

Times are Redis's: one clock for all nodes, so that `since` orders the statuses of all of them. For each user it grows
strictly, even if that clock is set back. Lua's numbers are exact up to 2^53 microseconds, the year 2255.
"""

from __future__ import annotations

_CLOCK = """
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
"""

# n: the number of this change in its shard, by which a reader detects gaps. u: the user. l: whether the list of users
# may differ. s, t: `since` and `until` of a new status, or -.
_PUBLISH = """
local function publish(count, changes, backlog, user, listed, since, ends)
  local number = redis.call('INCR', count)
  redis.call('XADD', changes, 'MAXLEN', '~', backlog, '*',
    'n', number, 'u', user, 'l', listed, 's', since, 't', ends)
end
"""

SET = (
    _CLOCK
    + _PUBLISH
    + """
-- KEYS: user, history, users, passing, count, changes
-- ARGV: user, text, until or -, how many statuses to keep, for how many microseconds (0: for ever), backlog,
--       1 if the user must have a status already
-- Returns what is stored for the user now; nil: `until` has passed or the user has no status, and nothing was done.
local user, text, ends, keep, age = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local now = clock()
if ends ~= '-' and tonumber(ends) <= now then return false end
local held = redis.call('HMGET', KEYS[1], 'lasting', 'last', 'passing')
if ARGV[7] == '1' and not held[1] then
  local holds = held[3] and tonumber(string.match(held[3], '^%d+ (%d+) '))
  if not holds or holds <= now then return false end
end
local since = string.format('%.0f', math.max(now, (tonumber(held[2]) or 0) + 1))
local status = since .. ' ' .. ends .. ' ' .. text

redis.call('LPUSH', KEYS[2], status)
redis.call('LTRIM', KEYS[2], 0, keep - 1)
if age > 0 then
  -- If the user sets no further status, Redis deletes the history when the newest status is too old.
  redis.call('PEXPIRE', KEYS[2], math.ceil(age / 1000))
  local oldest = redis.call('LINDEX', KEYS[2], -1)
  while tonumber(string.match(oldest, '^%d+')) < now - age do
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
publish(KEYS[5], KEYS[6], ARGV[6], user, held[1] and '0' or '1', since, ends)
return redis.call('HMGET', KEYS[1], 'lasting', 'passing', 'name', 'details')
"""
)

DUE = (
    _CLOCK
    + """
-- KEYS: passing
-- Returns some users whose status has ended, and the microseconds until the next one ends, or nil.
local now = string.format('%.0f', clock())
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 100)
local after = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
return {due, after[2] and string.format('%.0f', after[2] - now) or false}
"""
)

END = (
    _CLOCK
    + _PUBLISH
    + """
-- KEYS: user, passing, count, changes
-- ARGV: user, backlog
-- Ends a status that is due. Every node runs this at the same time: the first one ends it, the others find it ended.
local held = redis.call('HMGET', KEYS[1], 'lasting', 'passing')
local ends = held[2] and tonumber(string.match(held[2], '^%d+ (%d+) '))
if ends and ends > clock() then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
if not ends then return 0 end
redis.call('HDEL', KEYS[1], 'passing')
publish(KEYS[3], KEYS[4], ARGV[2], ARGV[1], held[1] and '0' or '1', '-', '-')
return 1
"""
)

HISTORY = (
    _CLOCK
    + """
-- KEYS: user, history
-- ARGV: before, limit, for how many microseconds statuses are kept (0: for ever)
-- Returns {since, when it ended or -, text}, newest first. A lasting status ended when the next lasting one was set; a
-- temporary one at its `until`, or when any other status was set. The present lasting status is included even if the
-- history is too short to contain it.
local before, limit, age = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local cutoff = age > 0 and clock() - age or 0
local lasting = redis.call('HGET', KEYS[1], 'lasting')
local found, position, newer, replaced = {}, 0, false, false

local function add(status)
  local since, ends, text = string.match(status, '^(%d+) (%S+) (.*)$')
  local ended = ends == '-' and (replaced or '-') or ends
  if ends ~= '-' and newer and tonumber(newer) < tonumber(ends) then ended = newer end
  if tonumber(since) < before and #found < limit then found[#found + 1] = {since, ended, text} end
  newer = since
  if ends == '-' then replaced = since end
end

while #found < limit do
  local some = redis.call('LRANGE', KEYS[2], position, position + 99)
  if #some == 0 then break end
  for _, status in ipairs(some) do
    local recent = position == 0 or tonumber(string.match(status, '^%d+')) >= cutoff
    if recent or status == lasting then
      add(status)
      if status == lasting then lasting = false end
    end
    position = position + 1
  end
end
if lasting then add(lasting) end
return found
"""
)

SET_PROFILE = (
    _PUBLISH
    + """
-- KEYS: user, count, changes
-- ARGV: user, full name or empty, details or empty, backlog
for field, value in pairs({name = ARGV[2], details = ARGV[3]}) do
  if value == '' then redis.call('HDEL', KEYS[1], field) else redis.call('HSET', KEYS[1], field, value) end
end
publish(KEYS[2], KEYS[3], ARGV[4], ARGV[1], '0', '-', '-')
return 1
"""
)

LAYOUT = """
-- KEYS: layout
-- ARGV: version, shards
-- Returns the version and the number of shards that all nodes use: those of the first node.
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('HSET', KEYS[1], 'version', ARGV[1], 'shards', ARGV[2]) end
return redis.call('HMGET', KEYS[1], 'version', 'shards')
"""
