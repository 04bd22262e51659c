"""Django's view of the app."""

from django.apps import AppConfig


class CutoverConfig(AppConfig):
    """Registers the models and the system checks."""

    name = "cutover"
    verbose_name = "Cutover"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks."""
        from cutover import checks  # noqa: F401 - importing registers
