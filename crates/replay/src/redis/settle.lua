#!lua flags=allow-oom
-- Settles the claim on KEYS[1] that holds the token ARGV[1]. ARGV[2]: for how
-- long it is done, or -1 to give it back; ARGV[3]: how far the clock is ahead, in
-- milliseconds; ARGV[4]: 1 when an earlier try may have been applied; ARGV[5] and
-- ARGV[6]: what to publish where. The answer begins with the token; that to a commit
-- ends with what is there from now on.
-- allow-oom: a full server must not forget what was delivered.
local token, retention, again = ARGV[1], tonumber(ARGV[2]), ARGV[4] == '1'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[3])
local value = redis.call('GET', KEYS[1])
if not value then
  if again and retention < 0 then
    return token .. ' released'
  end
  return token .. ' stale'
end
local holder, count, forget_at, content = string.match(value, '^f:(%x+):(%d+):%d+:(%d+):(%d*)$')
if not holder then
  local giver = string.match(value, '^g:(%x+):%d+:%d+$')
  if giver then
    if again and retention < 0 and giver == token then
      return token .. ' released'
    end
    return token .. ' stale'
  end
  local by = string.match(value, '^d:(%x+):%d+:%d*$')
  if not by then
    return token .. ' foreign'
  end
  if again and retention >= 0 and by == token then
    return token .. ' committed ' .. value
  end
  return token .. ' stale'
end
if holder ~= token or now >= tonumber(forget_at) then
  return token .. ' stale'
end
local answer = token .. ' released'
if retention < 0 and tonumber(count) > 1 then
  -- Leases before it ran out, and nobody knows what became of them.
  local entry = string.format('g:%s:%.0f:%s', token, count - 1, forget_at)
  redis.call('SET', KEYS[1], entry, 'PX', string.format('%.0f', forget_at - now + 1000))
elseif retention < 0 then
  redis.call('DEL', KEYS[1])
else
  local entry = string.format('d:%s:%.0f:%s', token, now + retention, content)
  redis.call('SET', KEYS[1], entry, 'PX', string.format('%.0f', retention + 1000))
  answer = token .. ' committed ' .. entry
end
-- Not call: who may not publish has settled all the same; waiters look again.
redis.pcall('PUBLISH', ARGV[5], ARGV[6])
return answer
