-- Whether what a gate has committed under `key` is gone before its time. `entry` is what
-- it was told is there, at `told` by the clocks that `since` is of; of what was told before
-- `since`, nothing needs to be there.
local function is_gone(key, entry, told, since, now)
  -- Data that is older may have the event in flight still. Not call: nor need it be text.
  if redis.pcall('GET', key) == entry then
    return false
  end
  local done_until = string.match(entry, '^d:%x+:(%d+):%d*$')
  return now < tonumber(done_until) and since < tonumber(told)
end
