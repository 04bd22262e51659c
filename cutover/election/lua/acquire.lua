-- Take the lease if it may be taken.
-- KEYS[1] lease (hash)
-- ARGV    holder, side, lease time in ms, client id, holder known to be dead ('' for none)
-- Reply   {1} taken, or {0, holder, side, remaining ms, client id} when another holds it
-- Atomic  the comparison, the fields and the expiry; the server's clock alone counts the time.
-- A holder of the other side is displaced: only a candidate of the active side comes here, so that one is fenced.
local holder = redis.call('HGET', KEYS[1], 'holder')
if holder and holder ~= ARGV[1] and holder ~= ARGV[5]
   and redis.call('HGET', KEYS[1], 'side') == ARGV[2] then
  local held = redis.call('HMGET', KEYS[1], 'side', 'client')
  return {0, holder, held[1], redis.call('PTTL', KEYS[1]), held[2]}
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'side', ARGV[2], 'client', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {1}
