-- Claims a key.
-- KEYS[1]: the key of the event.
-- KEYS[2]: the epoch of the server, in seconds by the clock of the gates.
-- KEYS[3]: the witness of the gate in this slot, and KEYS[4]: the events of the slot that were
-- forgotten, if there is a witness.
-- ARGV[1]: the token of the claim. The reply begins with it.
-- ARGV[2]: the lease; ARGV[3]: the attempt retention; ARGV[4]: what to add to the server's
-- clock; all in milliseconds.
-- ARGV[5]: the checksum of the content, or empty.
-- ARGV[6]: when the delivery was signed, or empty.
-- ARGV[7]: the value of the witness; ARGV[8]: when the gate committed it.
--
-- Values: f:TOKEN:ATTEMPT:LEASE_END:FORGET_AT:CHECKSUM in flight, d:TOKEN:UNTIL:CHECKSUM done,
-- g:TOKEN:EARLIER_ATTEMPTS:UNTIL released after earlier leases had ended unsettled.
local token, lease, attempt_retention = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[4])
local epoch = tonumber(redis.call('GET', KEYS[2]))
if not epoch or (KEYS[3] and is_missing(KEYS[3], KEYS[4], ARGV[7], ARGV[8], epoch, now)) then
  return token .. ' lost'
end
if ARGV[6] ~= '' and tonumber(ARGV[6]) <= epoch then
  return token .. ' forgotten'
end
local value = redis.call('GET', KEYS[1])
local attempt = 1
if value then
  local holder, count, lease_end, forget_at = string.match(value, '^f:(%x+):(%d+):(%d+):(%d+):%d*$')
  local done_until, checksum = string.match(value, '^d:%x+:(%d+):(%d*)$')
  local earlier_attempts, released_until = string.match(value, '^g:%x+:(%d+):(%d+)$')
  if holder then
    if now < tonumber(forget_at) then
      attempt = tonumber(count)
      if now < tonumber(lease_end) then
        -- The token is the claim's own if the reply to its first try was lost.
        if holder == token then
          return token .. ' granted ' .. count
        end
        return token .. ' inflight ' .. string.format('%.0f', lease_end - now)
      end
      if holder ~= token then
        attempt = math.min(attempt + 1, 4294967295)
      end
    end
  elseif earlier_attempts then
    if now < tonumber(released_until) then
      attempt = math.min(earlier_attempts + 1, 4294967295)
    end
  elseif done_until then
    if now < tonumber(done_until) then
      if checksum ~= '' and ARGV[5] ~= '' and checksum ~= ARGV[5] then
        return token .. ' conflict'
      end
      return token .. ' done'
    end
  else
    return token .. ' foreign'
  end
end
local lease_end = now + lease
local forget_at = lease_end + attempt_retention
local entry = string.format('f:%s:%.0f:%.0f:%.0f:%s', token, attempt, lease_end, forget_at, ARGV[5])
-- The time to live is a second longer than necessary. The times in the value decide.
local ttl = string.format('%.0f', lease + attempt_retention + 1000)
local set = redis.pcall('SET', KEYS[1], entry, 'PX', ttl)
if type(set) == 'table' and set.err then
  if string.find(set.err, 'OOM command not allowed', 1, true) then
    return token .. ' full'
  end
  return set
end
return token .. ' granted ' .. string.format('%.0f', attempt)
