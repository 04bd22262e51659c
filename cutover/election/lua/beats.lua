-- List the beats that reported lately, and forget the others.
-- KEYS[1] beats (hash: holder -> seen ms, valid ms, details)
-- ARGV    none
-- Reply   {holder, ms since it was seen, details, ...} flat, three for each beat
-- Atomic  reading and forgetting: a beat that reports in between is not forgotten.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local all = redis.call('HGETALL', KEYS[1])
local live = {}
for i = 1, #all, 2 do
  local seen, valid, details = string.match(all[i + 1], '^(%d+) (%d+) (.*)$')
  if seen and now - seen <= tonumber(valid) then
    live[#live + 1] = all[i]
    live[#live + 1] = now - seen
    live[#live + 1] = details
  else
    redis.call('HDEL', KEYS[1], all[i])
  end
end
return live
