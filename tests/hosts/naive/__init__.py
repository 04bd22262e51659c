"""``USE_TZ = False`` in a time zone that is not UTC."""
