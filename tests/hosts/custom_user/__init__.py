"""A user model of its own."""
