"""Lua scripts for the recent statuses; see `scripts`, and PLACE in `lua`."""

from __future__ import annotations

from fingertrio.backends.redis.lua import CHECK, CLOCK

RECENT = (
    CHECK
    + CLOCK
    + """
-- KEYS: recent, count, passing; the same of other shards, which in a cluster are in other slots
-- ARGV: score of the place, or -inf; its member; how many users of each shard
-- Returns for each shard members behind the place and their scores, in order; and users whose status has ended, but
-- whose place is still that of the ended one. nil for a shard: its `recent` lacks changes.
local types = {}
for index = 1, #KEYS, 3 do types[index], types[index + 1], types[index + 2] = 'zset', 'string', 'zset' end
local wrong = mistyped(types)
if wrong then return wrong end
local place, member, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])
local score = tonumber(place)
local now = string.format('%.0f', clock())

local function first(recent)
  if place == '-inf' then return 0 end
  local held = redis.call('ZSCORE', recent, member)
  if held and tonumber(held) == score then return redis.call('ZRANK', recent, member) + 1 end
  return redis.call('ZCOUNT', recent, '-inf', '(' .. place)
end

local function one(recent, count, passing)
  local marked = redis.call('ZSCORE', recent, '')
  if (marked and -marked or 0) ~= tonumber(redis.call('GET', count) or '0') then return false end
  local start, found = first(recent), {}
  while #found < 2 * limit do
    local some = redis.call('ZRANGE', recent, start, start + limit, 'WITHSCORES')
    if #some == 0 then break end
    for index = 1, #some, 2 do
      local before = place ~= '-inf' and tonumber(some[index + 1]) == score and some[index] <= member
      if some[index] ~= '' and not before and #found < 2 * limit then
        found[#found + 1], found[#found + 2] = some[index], some[index + 1]
      end
    end
    start = start + #some / 2
  end
  return {found, redis.call('ZRANGEBYSCORE', passing, '-inf', now, 'LIMIT', 0, 100)}
end

local shards = {}
for index = 1, #KEYS, 3 do shards[#shards + 1] = one(KEYS[index], KEYS[index + 1], KEYS[index + 2]) end
return shards
"""
)

# The only script that uses keys that were not passed to it: those of the users, which are in the same slot.
PLACE_ALL = (
    CHECK
    + CLOCK
    + """
-- KEYS: recent, count, users, passing
-- ARGV: how the keys of users begin
-- Makes `recent` anew, 8 us for each user of the shard.
local wrong = mistyped({'zset', 'string', 'set', 'zset'})
if wrong then return wrong end
local now = clock()
redis.call('DEL', KEYS[1])
local function place(users)
  for _, user in ipairs(users) do
    local key = ARGV[1] .. user
    if redis.call('TYPE', key).ok == 'hash' then
      local held = redis.call('HMGET', key, 'lasting', 'passing')
      local ends = held[2] and whole(string.match(held[2], '^%d+ (%d+) '))
      local since, text = string.match(ends and ends > now and held[2] or held[1] or '', '^(%d+) %S+ (.*)$')
      if whole(since) and text ~= '' then redis.call('ZADD', KEYS[1], '-' .. since, user) end
    end
  end
end
place(redis.call('SMEMBERS', KEYS[3]))
place(redis.call('ZRANGE', KEYS[4], 0, -1))
redis.call('ZADD', KEYS[1], '-' .. (redis.call('GET', KEYS[2]) or '0'), '')
return 1
"""
)

READ_MANY = """
-- KEYS: users
-- ARGV: how many bytes the values of one user may have together
-- Returns what is stored for each; nothing for what cannot be a user.
local found = {}
for index, key in ipairs(KEYS) do
  found[index] = {}
  if redis.call('TYPE', key).ok == 'hash' then
    local values = redis.call('HMGET', key, 'lasting', 'passing', 'name', 'details')
    local size = 0
    for i = 1, 4 do size = size + #(values[i] or '') end
    if size <= tonumber(ARGV[1]) then found[index] = values end
  end
end
return found
"""
