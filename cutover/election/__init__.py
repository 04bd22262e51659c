"""Who leads: the lease in Redis, and the elector that keeps one beat campaigning for it."""
