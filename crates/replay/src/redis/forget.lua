#!lua flags=allow-oom
-- Removes the record of a key, unless a lease on the key is open.
-- KEYS[1]: the key of the event.
-- KEYS[2]: the events of the slot that were forgotten: a set of their values, sorted by the end
-- of their retention. A gate may still expect such a value as its witness. The set also has the
-- tokens of the latest calls.
-- ARGV[1]: the token of the call. The reply begins with it.
-- ARGV[2]: what to add to the server's clock, in milliseconds.
--
-- The flag allow-oom lets a full server forget an event.
local token = ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[2])
-- An earlier try of this call was applied, and its reply was lost.
if redis.call('ZSCORE', KEYS[2], token) then
  return token .. ' removed'
end
local value = redis.call('GET', KEYS[1])
if not value then
  return token .. ' unknown'
end
local lease_end, forget_at = string.match(value, '^f:%x+:%d+:(%d+):(%d+):%d*$')
local done_until = string.match(value, '^d:%x+:(%d+):%d*$')
local known_until = forget_at or done_until or string.match(value, '^g:%x+:%d+:(%d+)$')
if not known_until then
  return token .. ' foreign'
end
if now >= tonumber(known_until) then
  return token .. ' unknown'
end
if lease_end and now < tonumber(lease_end) then
  return token .. ' inflight ' .. string.format('%.0f', lease_end - now)
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now))
if done_until then
  redis.call('ZADD', KEYS[2], done_until, value)
end
-- Longer than a call and its second try take.
redis.call('ZADD', KEYS[2], string.format('%.0f', now + 60000), token)
local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
redis.call('PEXPIRE', KEYS[2], string.format('%.0f', last[2] - now + 1000))
redis.call('DEL', KEYS[1])
return token .. ' removed'
