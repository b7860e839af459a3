-- Puts a value that was put while Redis was away, unless a newer one is there. ARGV: the value, the time to live in ms.
local was = redis.call('GET', KEYS[1])
if was and string.sub(was, 1, 16) > string.sub(ARGV[1], 1, 16) then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
