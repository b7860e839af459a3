-- Adds to two sums that halve in each half-life. The key holds "sum sum time".
-- ARGV: now and half-life in microseconds; what is added, twice; the least sums a node remembers, twice. Returns the sums.
local now, half = tonumber(ARGV[1]), tonumber(ARGV[2])
local was = redis.call('GET', KEYS[1])
local a, b, at = 0, 0, now
if was then
  local x, y, t = string.match(was, '^(%S+) (%S+) (%S+)$')
  a, b, at = tonumber(x or '') or 0, tonumber(y or '') or 0, tonumber(t or '') or now
end
if now > at then
  local left = 2 ^ (-(now - at) / half)
  a, b, at = a * left, b * left, now
end
a = math.min(math.max(a + tonumber(ARGV[3]), tonumber(ARGV[5])), 1e15)
b = math.min(math.max(b + tonumber(ARGV[4]), tonumber(ARGV[6])), 1e15)
local text = string.format('%.17g %.17g %.0f', a, b, at)
-- it may go when both are below a thousandth
local halves = 10 + math.log(math.max(a, b, 1)) / math.log(2)
redis.call('SET', KEYS[1], text, 'PX', math.floor(math.min(halves * half / 1000, 1e12)) + 60000)
return text
