"""Django's view of the app."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class CutoverConfig(AppConfig):
    """Registers the models, the system checks, and what makes the single rows."""

    name = "cutover"
    verbose_name = "Cutover"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks, and the single rows to be made after ``migrate`` and ``flush``."""
        from cutover import checks  # noqa: F401 - importing registers
        from cutover.ledger.single_rows import make_missing

        post_migrate.connect(make_missing, sender=self, dispatch_uid="cutover.single_rows")
