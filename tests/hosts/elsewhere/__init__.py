"""The Celery app stands in a module of another name, and the project does not import it."""
