-- Checks whether the server has lost events, and moves its epoch to the present if it has.
-- KEYS[1]: the epoch of the server, in seconds by the clock of the gates.
-- KEYS[2]: the witness of the gate in this slot, and KEYS[3]: the events of the slot that were
-- forgotten, if there is a witness.
-- ARGV[1]: the gate's time, in seconds.
-- ARGV[2]: 'check' changes nothing; 'record' records a loss without a check; 'check and
-- record' records a loss that it finds.
-- ARGV[3]: what to add to the server's clock, in milliseconds.
-- ARGV[4]: the value of the witness; ARGV[5]: when the gate committed it.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[3])
local epoch = tonumber(redis.call('GET', KEYS[1]))
local is_lost = not epoch
  or ARGV[2] == 'record'
  or (KEYS[2] and is_missing(KEYS[2], KEYS[3], ARGV[4], ARGV[5], epoch, now))
if not is_lost then
  return 'epoch intact'
end
if ARGV[2] == 'check' then
  return 'epoch lost'
end
-- The new epoch is never earlier than the lost witness, even if the gate's clock was put back.
local new_epoch = math.max(tonumber(ARGV[1]), tonumber(ARGV[5] or 0))
if epoch and epoch >= new_epoch then
  return 'epoch lost'
end
redis.call('SET', KEYS[1], string.format('%.0f', new_epoch))
return 'epoch lost'
