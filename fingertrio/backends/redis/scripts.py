"""What has to happen all at once, in the language that Redis runs it in (Lua 5.1).

A script runs alone: no other command is carried out between its first and its last. All its keys are handed to it and
share a hash slot. Redis does not take back what a script did before it failed, so whatever can be refused is refused
before anything is written.

Time is Redis's own: one clock for all nodes, so that `since` orders what they say. Along one user it grows strictly,
whatever happens to that clock. 2^53 microseconds are the year 2255: until then Lua's numbers are exact.
"""

from __future__ import annotations

_CLOCK = """
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
"""

# n: the number of this change in its shard, by which a reader sees that it missed none. u: whose. l: whether the list
# of users may differ. s, t: `since` and `until` of a new status, or -.
_TELL = """
local function tell(count, changes, backlog, user, listed, since, ends)
  local number = redis.call('INCR', count)
  redis.call('XADD', changes, 'MAXLEN', '~', backlog, '*',
    'n', number, 'u', user, 'l', listed, 's', since, 't', ends)
end
"""

SET = (
    _CLOCK
    + _TELL
    + """
-- KEYS: user, history, users, passing, count, changes
-- ARGV: user, text, until or -, how many statuses to keep, for how many microseconds (0: for ever), backlog
-- Gives what is stored of the user from now on; nil: that `until` has passed, and nothing was done.
local user, text, ends, keep, age = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local now = clock()
if ends ~= '-' and tonumber(ends) <= now then return false end
local held = redis.call('HMGET', KEYS[1], 'lasting', 'last')
local since = string.format('%.0f', math.max(now, (tonumber(held[2]) or 0) + 1))
local said = since .. ' ' .. ends .. ' ' .. text

redis.call('LPUSH', KEYS[2], said)
redis.call('LTRIM', KEYS[2], 0, keep - 1)
if age > 0 then
  -- What a user who is silent ever after has said goes by itself, with the newest of it.
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
  redis.call('HSET', KEYS[1], 'lasting', said, 'last', since)
  redis.call('HDEL', KEYS[1], 'passing')
  redis.call('SADD', KEYS[3], user)
  redis.call('ZREM', KEYS[4], user)
else
  redis.call('HSET', KEYS[1], 'passing', said, 'last', since)
  redis.call('ZADD', KEYS[4], ends, user)
end
tell(KEYS[5], KEYS[6], ARGV[6], user, held[1] and '0' or '1', since, ends)
return redis.call('HMGET', KEYS[1], 'lasting', 'passing', 'name', 'details')
"""
)

DUE = (
    _CLOCK
    + """
-- KEYS: passing
-- Gives some whose status has ended; and in how many microseconds the next one does, or nil.
local now = string.format('%.0f', clock())
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 100)
local after = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
return {due, after[2] and string.format('%.0f', after[2] - now) or false}
"""
)

END = (
    _CLOCK
    + _TELL
    + """
-- KEYS: user, passing, count, changes
-- ARGV: user, backlog
-- Ends a status whose time has come. Every node does so at that time: the first does it, the others find it done.
local held = redis.call('HMGET', KEYS[1], 'lasting', 'passing')
local ends = held[2] and tonumber(string.match(held[2], '^%d+ (%d+) '))
if ends and ends > clock() then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
if not ends then return 0 end
redis.call('HDEL', KEYS[1], 'passing')
tell(KEYS[3], KEYS[4], ARGV[2], ARGV[1], held[1] and '0' or '1', '-', '-')
return 1
"""
)

HISTORY = (
    _CLOCK
    + """
-- KEYS: user, history
-- ARGV: before, limit, for how many microseconds statuses are kept (0: for ever)
-- Gives {since, when it ended or -, text}, newest first. A status that lasts ended when the next such one was set; one
-- that passes at its `until`, or as soon as any other was set. What lasts now is told even where the history, being
-- short, has lost it.
local before, limit, age = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local cutoff = age > 0 and clock() - age or 0
local lasting = redis.call('HGET', KEYS[1], 'lasting')
local found, position, newer, replaced = {}, 0, false, false

local function pass(said)
  local since, ends, text = string.match(said, '^(%d+) (%S+) (.*)$')
  local ended = ends == '-' and (replaced or '-') or ends
  if ends ~= '-' and newer and tonumber(newer) < tonumber(ends) then ended = newer end
  if tonumber(since) < before and #found < limit then found[#found + 1] = {since, ended, text} end
  newer = since
  if ends == '-' then replaced = since end
end

while #found < limit do
  local some = redis.call('LRANGE', KEYS[2], position, position + 99)
  if #some == 0 then break end
  for _, said in ipairs(some) do
    local new = position == 0 or tonumber(string.match(said, '^%d+')) >= cutoff
    if new or said == lasting then
      pass(said)
      if said == lasting then lasting = false end
    end
    position = position + 1
  end
end
if lasting then pass(lasting) end
return found
"""
)

DESCRIBE = (
    _TELL
    + """
-- KEYS: user, count, changes
-- ARGV: user, full name or empty, details or empty, backlog
for field, value in pairs({name = ARGV[2], details = ARGV[3]}) do
  if value == '' then redis.call('HDEL', KEYS[1], field) else redis.call('HSET', KEYS[1], field, value) end
end
tell(KEYS[2], KEYS[3], ARGV[4], ARGV[1], '0', '-', '-')
return 1
"""
)

LAYOUT = """
-- KEYS: layout
-- ARGV: version, shards
-- Gives the version and the shards that hold for all: those of who comes first.
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('HSET', KEYS[1], 'version', ARGV[1], 'shards', ARGV[2]) end
return redis.call('HMGET', KEYS[1], 'version', 'shards')
"""
