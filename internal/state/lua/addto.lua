-- Adds members to a set: a hash with a field for each, and "e" for the time when the set ends by the callers' clock.
-- ARGV: now and the time to keep in microseconds, how many members it may hold, members of 8 octets. Returns the number
-- of members, and whether the last one is new.
local now, keep, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local ends = tonumber(redis.call('HGET', KEYS[1], 'e') or 0) or 0
if ends <= now then
  redis.call('DEL', KEYS[1])
end
local n = math.max(redis.call('HLEN', KEYS[1]) - 1, 0)
local fresh = 0
for i = 4, #ARGV do
  fresh = 1 - redis.call('HEXISTS', KEYS[1], ARGV[i])
  if fresh == 1 and n < most then
    redis.call('HSET', KEYS[1], ARGV[i], '')
    n = n + 1
  end
end
redis.call('HSET', KEYS[1], 'e', string.format('%.0f', now + keep))
redis.call('PEXPIRE', KEYS[1], math.ceil(keep / 1000) + 60000)
return {n, fresh}
