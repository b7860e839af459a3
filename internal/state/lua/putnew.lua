-- Puts a value unless there is one. A value begins with two times of 16 digits, in microseconds: when it was put and
-- when it ends by the callers' clock.
-- ARGV: the time now, the value, the time to live in ms. Returns what was there, or false.
local was = redis.call('GET', KEYS[1])
if was and string.sub(was, 17, 32) > ARGV[1] then
  return was
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return false
