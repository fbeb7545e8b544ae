-- Claims KEYS[1] for the token ARGV[1]: lease ARGV[2], memory ARGV[3], clock
-- ahead by ARGV[4], all in milliseconds; ARGV[5]: the checksum of the content, or
-- nothing. The answer begins with the token.
-- KEYS[2] says since when the server remembers, in seconds of the gates' clocks;
-- ARGV[6]: when the delivery was signed, or nothing. KEYS[3], if any: the last event
-- that the gate has committed in this slot; ARGV[7]: what is there; ARGV[8]: when the gate
-- was told so.
local token, lease, memory = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[4])
local since = tonumber(redis.call('GET', KEYS[2]))
if not since or (KEYS[3] and is_gone(KEYS[3], ARGV[7], ARGV[8], since, now)) then
  return token .. ' lost'
end
if ARGV[6] ~= '' and tonumber(ARGV[6]) <= since then
  return token .. ' forgotten'
end
local value = redis.call('GET', KEYS[1])
local attempt = 1
if value then
  local holder, count, lease_end, forget_at = string.match(value, '^f:(%x+):(%d+):(%d+):(%d+):%d*$')
  local done_until, content = string.match(value, '^d:%x+:(%d+):(%d*)$')
  local before, until_then = string.match(value, '^g:%x+:(%d+):(%d+)$')
  if holder then
    if now < tonumber(forget_at) then
      attempt = tonumber(count)
      -- Its own token: the answer to an earlier try was lost.
      if now < tonumber(lease_end) then
        if holder == token then
          return token .. ' granted ' .. count
        end
        return token .. ' inflight ' .. string.format('%.0f', lease_end - now)
      end
      if holder ~= token then
        attempt = math.min(attempt + 1, 4294967295)
      end
    end
  elseif before then
    -- Given back; leases before that one had run out.
    if now < tonumber(until_then) then
      attempt = math.min(before + 1, 4294967295)
    end
  elseif done_until then
    if now < tonumber(done_until) then
      if content ~= '' and ARGV[5] ~= '' and content ~= ARGV[5] then
        return token .. ' conflict'
      end
      return token .. ' done'
    end
  else
    return token .. ' foreign'
  end
end
local lease_end = now + lease
local entry = string.format('f:%s:%.0f:%.0f:%.0f:%s', token, attempt, lease_end, lease_end + memory, ARGV[5])
-- A second more than it counts: the time in the value decides.
local set = redis.pcall('SET', KEYS[1], entry, 'PX', string.format('%.0f', lease + memory + 1000))
if type(set) == 'table' and set.err then
  if string.find(set.err, 'OOM command not allowed', 1, true) then
    return token .. ' full'
  end
  return set
end
return token .. ' granted ' .. string.format('%.0f', attempt)
