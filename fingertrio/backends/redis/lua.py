"""Parts of several Lua scripts; see `scripts`."""

from __future__ import annotations

CHECK = """
-- A whole number as our scripts write them, nil for anything else. 2^53: see above.
local function whole(text)
  local number = text and #text <= 16 and string.match(text, '^%d+$') and tonumber(text)
  return number and number < 9007199254740992 and number or nil
end

local function misused(key, reason)
  return redis.error_reply('MISUSED ' .. key .. ': ' .. reason)
end

-- An error reply for the first key that is there and not of the expected type, otherwise nil.
local function mistyped(types)
  for index, expected in ipairs(types) do
    local found = redis.call('TYPE', KEYS[index]).ok
    if found ~= 'none' and found ~= expected then
      return misused(KEYS[index], 'it is a ' .. found .. ', fingertrio expects a ' .. expected)
    end
    if expected == 'string' and found ~= 'none' and not whole(redis.call('GET', KEYS[index])) then
      return misused(KEYS[index], 'it is not a whole number')
    end
  end
end
"""

CLOCK = """
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
"""

# n: the number of this change in its shard, by which a reader detects gaps. u: the user. l: whether the list of users
# may differ. s, t: `since` and `until` of a new status, or -.
PUBLISH = """
local function publish(count, changes, backlog, user, listed, since, ends)
  local number = redis.call('INCR', count)
  local entry = {'XADD', changes, 'MAXLEN', '~', backlog, '*',
    'n', number, 'u', user, 'l', listed, 's', since, 't', ends}
  if redis.pcall(unpack(entry)).err then
    -- Another program used up the ids of the stream. Readers see that the numbers go on without them, and start over.
    redis.call('DEL', changes)
    redis.call(unpack(entry))
  end
end
"""

# `recent` orders the users of a shard by minus the time of their status, so that the newest comes first and equal times
# go by name. The member "" is no user: minus its score is the number of changes that `recent` contains. An earlier
# version of fingertrio changes a shard without `recent`. Then that number is not the number of changes, and the next
# reader makes `recent` anew (PLACE_ALL). So nodes of both versions can run at once, and an upgrade needs no step.
PLACE = """
-- `recent` contains the change that is published next, if it contains all before.
local function mark(recent, count)
  local known = tonumber(redis.call('GET', count) or '0')
  local marked = redis.call('ZSCORE', recent, '')
  if (marked and -marked or 0) == known then redis.call('ZADD', recent, string.format('-%.0f', known + 1), '') end
end

-- Before `publish`: `user` stands where this status belongs, or nowhere if it is empty or there is none.
local function place(recent, count, user, status)
  local since, text = string.match(status or '', '^(%d+) %S+ (.*)$')
  if since and text ~= '' then redis.call('ZADD', recent, '-' .. since, user)
  else redis.call('ZREM', recent, user) end
  mark(recent, count)
end
"""
