-- Take the lease if it may be taken.
-- KEYS[1] lease (hash)
-- ARGV    holder, side, lease time in ms, client id; holder and client id known to be dead ('' for none)
-- Reply   {1} taken, or {0, holder, side, remaining ms, client id} when another holds it
-- Atomic  the comparison, the fields and the expiry; the server's clock alone counts the time.
-- A holder of the other side is displaced: only a candidate of the active side comes here, so that one is fenced.
-- One that has reconnected and renewed since has another client id: it is not dead.
local held = redis.call('HMGET', KEYS[1], 'holder', 'side', 'client')
local dead = held[1] == ARGV[5] and held[3] == ARGV[6]
if held[1] and held[1] ~= ARGV[1] and held[2] == ARGV[2] and not dead then
  return {0, held[1], held[2], redis.call('PTTL', KEYS[1]), held[3]}
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'side', ARGV[2], 'client', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {1}
