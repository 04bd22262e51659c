-- Say that one is alive, and read the lease, in one command.
-- KEYS[1] lease (hash), KEYS[2] beats (hash: holder -> seen ms, valid ms, details)
-- ARGV    holder, valid ms, details (JSON)
-- Reply   {} when nobody holds the lease, else {holder, side, remaining ms, client id}
-- Atomic  nothing needs to be; one script saves a round trip. The server's clock dates the report.
local time = redis.call('TIME')
local seen = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[2], ARGV[1], string.format('%.0f %s %s', seen, ARGV[2], ARGV[3]))
local held = redis.call('HMGET', KEYS[1], 'holder', 'side', 'client')
if not held[1] then
  return {}
end
return {held[1], held[2], redis.call('PTTL', KEYS[1]), held[3]}
