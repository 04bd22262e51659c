"""Move a Django + Celery site's periodic tasks and processes in production: every slot once, and a way back."""

__version__ = "0.1.0"
