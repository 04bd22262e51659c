"""Beat embedded in the worker: ``celery worker -B``, one process less."""
