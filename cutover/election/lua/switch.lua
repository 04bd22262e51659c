-- After a switch of side: drop the lease of the side that is no longer active and wake every beat.
-- KEYS[1] lease (hash)
-- ARGV    active side, wake channel, message
-- Reply   1 a lease was dropped, 0 there was none to drop
-- Atomic  the comparison and the deletion: a leader of the active side keeps its lease.
local dropped = 0
local side = redis.call('HGET', KEYS[1], 'side')
if side and side ~= ARGV[1] then
  dropped = redis.call('DEL', KEYS[1])
end
redis.call('PUBLISH', ARGV[2], ARGV[3])
return dropped
