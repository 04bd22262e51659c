-- Prolong a lease that is one's own, or put it back where the server has lost it.
-- KEYS[1] lease (hash)
-- ARGV    holder, side, lease time in ms, client id
-- Reply   {1} renewed, {2} restored, or {0, holder, side, remaining ms, client id} when another holds it
-- Atomic  the comparison and the expiry: a lease is never prolonged for somebody else.
local holder = redis.call('HGET', KEYS[1], 'holder')
if holder and holder ~= ARGV[1] then
  local held = redis.call('HMGET', KEYS[1], 'side', 'client')
  return {0, holder, held[1], redis.call('PTTL', KEYS[1]), held[2]}
end
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'side', ARGV[2], 'client', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {holder and 1 or 2}
