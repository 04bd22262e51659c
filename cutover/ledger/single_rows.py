"""The two single rows, fence and cutover: made after every ``migrate`` and ``flush``, wherever they are missing.

A flush empties them with all else, and whoever led then is refused from there on: its term is gone too.
"""

from typing import Any

from django import db
from django.apps import apps as installed
from django.apps.registry import Apps
from django.core.management.base import CommandError

from cutover.errors import ConfigurationError, LedgerBusy, LedgerUnavailable
from cutover.ledger.database import transaction


def make_missing(*, using: str, apps: Apps = installed, **_: Any) -> None:
    """Make the rows in the database ``using``, if its tables are ours and are there.

    A fence that was lost alone goes on from the newest term, so that no epoch is given twice. Raises CommandError where
    the database is kept locked, for then they may be missing.
    """
    try:
        fences, terms, cutovers = (apps.get_model("cutover", name) for name in ("Fence", "Term", "Cutover"))
    except LookupError:  # the app was migrated to zero
        return
    if not db.router.allow_migrate_model(using, fences):
        return
    try:
        with transaction(using):
            if not fences.objects.using(using).exists():
                newest = terms.objects.using(using).order_by("-epoch").first()
                known = {} if newest is None else {"epoch": newest.epoch, "side": newest.side}
                if any(field.name == "pauses" for field in fences._meta.fields):
                    pauses = apps.get_model("cutover", "Pause").objects.using(using)
                    known |= {"pauses": pauses.filter(ended_at=None).count()}
                fences.objects.using(using).get_or_create(id=1, defaults=known)
            cutovers.objects.using(using).get_or_create(id=1)
    except LedgerBusy as exc:
        raise CommandError(f"{exc} -> {exc.remedy}") from exc
    except (LedgerUnavailable, ConfigurationError):
        pass  # no tables, or those of an older release: the `migrate` that is still to come makes the rows
