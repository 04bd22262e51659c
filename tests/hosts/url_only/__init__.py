"""No cache in Redis, and no alias for it: the broker is one, and the lease takes the same URL."""
