#!lua flags=allow-oom
-- Moves the end of a lease to a later time, if the claim has the token.
-- KEYS[1]: the key of the event.
-- ARGV[1]: the token of the claim. The reply begins with it.
-- ARGV[2]: the time from now to the end of the lease; ARGV[3]: what to add to the server's clock;
-- both in milliseconds.
--
-- The flag allow-oom lets a full server keep a delivery in flight.
local token = ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[3])
local value = redis.call('GET', KEYS[1])
if not value then
  return token .. ' stale'
end
local holder, count, lease_end, forget_at, checksum =
  string.match(value, '^f:(%x+):(%d+):(%d+):(%d+):(%d*)$')
if not holder then
  if string.match(value, '^[dg]:%x+:%d+:%d*$') then
    return token .. ' stale'
  end
  return token .. ' foreign'
end
if holder ~= token or now >= tonumber(forget_at) then
  return token .. ' stale'
end
local new_end = now + tonumber(ARGV[2])
if new_end > tonumber(lease_end) then
  local new_forget_at = forget_at + (new_end - lease_end)
  local entry = string.format('f:%s:%s:%.0f:%.0f:%s', token, count, new_end, new_forget_at, checksum)
  -- The time to live is a second longer than necessary. The times in the value decide.
  redis.call('SET', KEYS[1], entry, 'PX', string.format('%.0f', new_forget_at - now + 1000))
end
return token .. ' renewed'
