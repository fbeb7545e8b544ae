#!lua flags=allow-oom
-- Records an event as done, whatever the state of its key is.
-- KEYS[1]: the key of the event.
-- KEYS[2]: the events of the slot that were forgotten. A gate may still expect the value that
-- this script replaces as its witness, so the set gets that value too.
-- ARGV[1]: the token of the call. The reply begins with it.
-- ARGV[2]: the retention; ARGV[3]: what to add to the server's clock; both in milliseconds.
-- ARGV[4]: the channel for settlements; ARGV[5]: the message.
-- The reply ends with the value of the key.
--
-- The flag allow-oom lets a full server record what a queue has stored.
local token, retention = ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[3])
local checksum = ''
local value = redis.call('GET', KEYS[1])
if value then
  local forget_at, claimed_checksum = string.match(value, '^f:%x+:%d+:%d+:(%d+):(%d*)$')
  local recorded_by, done_until, done_checksum = string.match(value, '^d:(%x+):(%d+):(%d*)$')
  if done_until then
    if now < tonumber(done_until) then
      -- The token is the call's own if the reply to its first try was lost.
      if now + retention <= tonumber(done_until) or recorded_by == token then
        return token .. ' committed ' .. value
      end
      checksum = done_checksum
      redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now))
      redis.call('ZADD', KEYS[2], done_until, value)
      local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
      redis.call('PEXPIRE', KEYS[2], string.format('%.0f', last[2] - now + 1000))
    end
  elseif forget_at then
    if now < tonumber(forget_at) then
      checksum = claimed_checksum
    end
  elseif not string.match(value, '^g:%x+:%d+:%d+$') then
    return token .. ' foreign'
  end
end
local entry = string.format('d:%s:%.0f:%s', token, now + retention, checksum)
-- The time to live is a second longer than necessary. The times in the value decide.
redis.call('SET', KEYS[1], entry, 'PX', string.format('%.0f', retention + 1000))
-- pcall, because an ACL may forbid the user to publish. Waiters then claim again by themselves.
redis.pcall('PUBLISH', ARGV[4], ARGV[5])
return token .. ' committed ' .. entry
