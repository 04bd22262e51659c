"""Cache, lease and broker in a Redis that listens on a unix socket alone."""
