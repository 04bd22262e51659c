"""PostgreSQL by way of Django's own connection pool."""
