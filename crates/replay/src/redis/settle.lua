#!lua flags=allow-oom
-- Commits or releases the claim of a key, if the claim has the token.
-- KEYS[1]: the key of the event.
-- ARGV[1]: the token of the claim. The reply begins with it.
-- ARGV[2]: the retention, or -1 to release the claim; ARGV[3]: what to add to the server's
-- clock; both in milliseconds.
-- ARGV[4]: 1 if an earlier try of this call may have been applied.
-- ARGV[5]: the channel for settlements; ARGV[6]: the message.
-- The reply to a commit ends with the new value of the key.
--
-- The flag allow-oom lets a full server record what was delivered.
local token, retention, is_second_try = ARGV[1], tonumber(ARGV[2]), ARGV[4] == '1'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[3])
local value = redis.call('GET', KEYS[1])
if not value then
  if is_second_try and retention < 0 then
    return token .. ' released'
  end
  return token .. ' stale'
end
local holder, count, forget_at, checksum = string.match(value, '^f:(%x+):(%d+):%d+:(%d+):(%d*)$')
if not holder then
  local released_by = string.match(value, '^g:(%x+):%d+:%d+$')
  if released_by then
    if is_second_try and retention < 0 and released_by == token then
      return token .. ' released'
    end
    return token .. ' stale'
  end
  local committed_by = string.match(value, '^d:(%x+):%d+:%d*$')
  if not committed_by then
    return token .. ' foreign'
  end
  if is_second_try and retention >= 0 and committed_by == token then
    return token .. ' committed ' .. value
  end
  return token .. ' stale'
end
if holder ~= token or now >= tonumber(forget_at) then
  return token .. ' stale'
end
local reply = token .. ' released'
if retention < 0 and tonumber(count) > 1 then
  -- Earlier leases ended unsettled, and their outcome is still unknown.
  local entry = string.format('g:%s:%.0f:%s', token, count - 1, forget_at)
  redis.call('SET', KEYS[1], entry, 'PX', string.format('%.0f', forget_at - now + 1000))
elseif retention < 0 then
  redis.call('DEL', KEYS[1])
else
  local entry = string.format('d:%s:%.0f:%s', token, now + retention, checksum)
  redis.call('SET', KEYS[1], entry, 'PX', string.format('%.0f', retention + 1000))
  reply = token .. ' committed ' .. entry
end
-- pcall, because an ACL may forbid the user to publish. Waiters then claim again by themselves.
redis.pcall('PUBLISH', ARGV[5], ARGV[6])
return reply
