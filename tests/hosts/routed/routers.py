"""Which app's tables are where."""

from typing import Any

BACKGROUND = {"django_celery_beat", "cutover"}


class BackgroundRouter:
    """Background work has a database of its own."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "background" if model._meta.app_label in BACKGROUND else "default"

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return (db == "background") == (app_label in BACKGROUND)
