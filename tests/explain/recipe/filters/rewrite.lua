-- Writes the JSON of the standard input anew with cjson.
local cjson = require 'cjson'
io.write(cjson.encode(cjson.decode(io.read('a'))))
