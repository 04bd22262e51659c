-- Give the lease back and wake the standbys.
-- KEYS[1] lease (hash)
-- ARGV    holder, wake channel, message
-- Reply   1 released, 0 when it was not one's own
-- Atomic  the comparison and the deletion: nobody else's lease is ever deleted.
if redis.call('HGET', KEYS[1], 'holder') ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', ARGV[2], ARGV[3])
return 1
