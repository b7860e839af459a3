-- Takes events of a rate by the generic cell rate algorithm. The key holds the time at which it would be idle again.
-- ARGV: now, cost and room in microseconds; the least idle time a node remembers; "owed" if the events have been let
-- through already, while Redis was away. Returns whether they are within, and the idle time.
local now, cost, room, least = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local owed = ARGV[5] == 'owed'
local idle = math.max(tonumber(redis.call('GET', KEYS[1]) or 0) or 0, now)
if owed then
  idle = math.min(math.max(idle + cost, least), now + room)
else
  idle = math.min(math.max(idle, least), now + room)
  if idle + cost - now > room then
    return {0, string.format('%.3f', idle)}
  end
  idle = idle + cost
end
local text = string.format('%.3f', idle)
if idle > now then
  redis.call('SET', KEYS[1], text, 'PX', math.ceil((idle - now) / 1000) + 60000)
end
return {1, text}
