-- Returns whether a committed event is missing before its retention ends: the witness of the
-- gate. `key` is the key of the event and `entry` the value that the server must have for it.
-- `committed_at` is when the gate committed it, by the clock of the gates. An event from before
-- the server's `epoch` proves nothing. An event in the set `forgotten` was removed by an operator,
-- and the server still has that set.
local function is_missing(key, forgotten, entry, committed_at, epoch, now)
  -- Older data may have the event in flight, so the value must be equal. pcall, because the
  -- key may hold another type than a string.
  if redis.pcall('GET', key) == entry then
    return false
  end
  local done_until = string.match(entry, '^d:%x+:(%d+):%d*$')
  if now >= tonumber(done_until) or epoch >= tonumber(committed_at) then
    return false
  end
  -- A score is a text. pcall, because an ACL may forbid the command.
  return type(redis.pcall('ZSCORE', forgotten, entry)) ~= 'string'
end
