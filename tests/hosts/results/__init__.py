"""Results in the database, by django-celery-results, also that a task has started."""
