-- Tells whether the server has lost what it remembered (ARGV[2]: ask), has it remember from
-- ARGV[1] on, the gate's time in seconds, in KEYS[1] (tell), or both if it has (ask and
-- tell). ARGV[3]: clock ahead, in milliseconds. KEYS[2], if any: the last event that the
-- gate has committed in this slot; ARGV[4]: what is there; ARGV[5]: when the gate was told
-- so.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[3])
local since = tonumber(redis.call('GET', KEYS[1]))
local lost = not since or ARGV[2] == 'tell' or (KEYS[2] and is_gone(KEYS[2], ARGV[4], ARGV[5], since, now))
if not lost then
  return 'since whole'
end
if ARGV[2] == 'ask' then
  return 'since lost'
end
-- Never earlier than what is lost, though the gate's clock be put back.
local begin = math.max(tonumber(ARGV[1]), tonumber(ARGV[5] or 0))
if since and since >= begin then
  return 'since lost'
end
redis.call('SET', KEYS[1], string.format('%.0f', begin))
return 'since lost'
