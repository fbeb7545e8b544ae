-- Removes every key of a prefix, for tests. The server has then remembered every event since 1970.
-- ARGV[1]: the prefix.
local prefix = ARGV[1] .. ':{'
local cursor = '0'
repeat
  local page = redis.call('SCAN', cursor, 'COUNT', 1000)
  cursor = page[1]
  for _, key in ipairs(page[2]) do
    if string.sub(key, 1, #prefix) == prefix then
      redis.call('DEL', key)
    end
  end
until cursor == '0'
for slot = 0, 255 do
  redis.call('SET', string.format('%s%02x}since', prefix, slot), 0)
end
