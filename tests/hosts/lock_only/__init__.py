"""No Redis for the cache or the broker: one alias for the lock alone."""
