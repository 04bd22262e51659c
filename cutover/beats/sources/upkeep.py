"""What is written into rows as their slots are sent: the last run and the count; those that are done are disabled.

A row that somebody else has locked, as a long transaction does, is passed over: what is sent is in the ledger, and
who waited for it would send nothing of all the others. NOT promised, therefore: that each run is noted in its row.
"""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Final

from django.db import connections
from django.db.models import Case, F, Model, Q, Value, When
from django.db.models.expressions import RawSQL
from django_celery_beat.models import PeriodicTask, PeriodicTasks

from cutover.events import Event, log
from cutover.fields import as_instant, stored
from cutover.ledger import Ledger
from cutover.ledger.database import outages, transaction
from cutover.schedules.rows import enabled_rows, rows_database
from cutover.types import EntryName

_AT_ONCE: Final = 100
"""How many rows are noted in one statement, each with its own instant: SQLite bounds how deep an expression may be."""


def published(
    rows: Sequence[PeriodicTask], past_slots: Sequence[tuple[PeriodicTask, dt.datetime]], now: dt.datetime
) -> Collection[EntryName]:
    """These rows were sent at ``now``; one that is sent once is disabled by that, as the stock scheduler does.

    ``now``: by the database's clock. By one that is ahead, what falls due next would count as another beat's.
    ``past_slots``: rows of which a past slot was sent. A row that was disabled meanwhile is left alone: a person, or
    a rollback, has said what its last run is. Returns those that are not to be sent again. Raises LedgerUnavailable.
    """
    if not rows and not past_slots:
        return ()
    with outages(rows_database()):
        late: dict[int, list[dt.datetime]] = {}
        for row, at in past_slots:
            late.setdefault(row.pk, []).append(at)
        for start in range(0, len(late), _AT_ONCE):
            _note_late(dict(islice(late.items(), start, start + _AT_ONCE)))
        sent = enabled_rows().filter(_free([row.pk for row in rows]))
        sent.update(last_run_at=stored(now), total_run_count=F("total_run_count") + 1)
        return _end([row for row in (*rows, *(row for row, _ in past_slots)) if row.one_off], now)


def _free(keys: Sequence[int], model: type[Model] = PeriodicTask) -> Q:
    """Those of these rows that nobody else has locked, for the statement that writes them: to be made for it alone."""
    connection = connections[rows_database()]
    if not (keys and connection.features.has_select_for_update_skip_locked):
        return Q(pk__in=keys)
    key, given = model._meta.pk.column, ", ".join(["%s"] * len(keys))
    found = f"SELECT {key} FROM {model._meta.db_table} WHERE {key} IN ({given})"  # noqa: S608 - names of theirs
    free = f"{found} FOR UPDATE SKIP LOCKED"
    if connection.vendor != "mysql":
        return Q(pk__in=RawSQL(free, keys))  # noqa: S611 - ours, as above
    with connection.cursor() as cursor:  # before the statement, which waits for each row that it looks at
        cursor.execute(free, keys)
        return Q(pk__in=[key for (key,) in cursor.fetchall()])


def _announce(now: dt.datetime) -> None:
    """Say that rows have changed. Who has that locked, having saved a row, says so as soon as this can be seen."""
    announced = PeriodicTasks.objects.using(rows_database())
    if announced.filter(ident=1).exists():
        announced.filter(_free([1], PeriodicTasks)).update(last_update=stored(now))
    else:
        PeriodicTasks.update_changed()


def _note_late(slots: Mapping[int, Sequence[dt.datetime]]) -> None:
    """Rows of which these slots were sent, by key, in one statement; a later last run stays."""
    latest = Case(*(When(pk=key, then=Value(stored(max(at)))) for key, at in slots.items()))
    count = Case(*(When(pk=key, then=Value(len(at))) for key, at in slots.items()))
    is_later = Q(last_run_at=None) | Q(last_run_at__lt=latest)
    enabled_rows().filter(_free([*slots])).update(
        total_run_count=F("total_run_count") + count,
        last_run_at=Case(When(is_later, then=latest), default=F("last_run_at")),
    )


def end(ledger: Ledger, rows: Mapping[EntryName, PeriodicTask | None]) -> Collection[EntryName]:
    """A clocked row, and one whose end has come, is disabled, as the stock scheduler does; None for a row that is gone.

    Not while a slot of it waits for the broker, for it would be given up; nor one that was changed since it was read.
    Returns those that are dealt with. Raises LedgerUnavailable.
    """
    now = ledger.fence.now()
    with outages(rows_database()):
        waiting = {claim.slot.entry for claim in ledger.claims.unpublished()}
        done = {name: row for name, row in rows.items() if name not in waiting}
        for row in filter(None, done.values()):
            has_expired = row.expires is not None and as_instant(row.expires) <= now
            if has_expired or (row.one_off and row.clocked_id):
                _disable(row, now, has_expired=has_expired)
    return done.keys()


def _disable(row: PeriodicTask, now: dt.datetime, *, has_expired: bool) -> None:
    as_read = {"pk": row.pk, "date_changed": row.date_changed, "expires": row.expires, "clocked_id": row.clocked_id}
    if row.clocked_id:
        as_read["clocked__clocked_time"] = row.clocked.clocked_time
    # With the date, as the stock scheduler does: by that it is seen again, should somebody enable it at once.
    ended = {"enabled": False, "date_changed": stored(now)}
    with transaction(rows_database()):
        if not enabled_rows().filter(**as_read).update(**ended):
            return
        _announce(now)
    reason = "its end has come"
    if not has_expired:
        at = as_instant(row.clocked.clocked_time).isoformat()
        reason = f"its slot of {at}, or a later one, is in the ledger; to have it sent, give it another time"
    log(Event.ENTRY_ENDED, entry=row.name, reason=f"the row is disabled: {reason}")


def recover(ledger: Ledger) -> Collection[EntryName]:
    """Rows that are sent once, were, by us or by a stock scheduler, and are still enabled: these are disabled.

    Returns their names. Raises LedgerUnavailable.
    """
    with outages(rows_database()):
        once = {EntryName(row.name): row for row in enabled_rows().filter(one_off=True)}
        if not once:
            return ()
        sent = ledger.claims.sent_since({name: as_instant(row.date_changed) for name, row in once.items()})
        counted = {name for name, row in once.items() if row.total_run_count} - sent
        sent |= counted - ledger.cursors.latest_of(counted).keys()  # in the ledger, the count is of before
        return _end([once[name] for name in sent], ledger.fence.now())


def _end(once: Sequence[PeriodicTask], now: dt.datetime) -> Collection[EntryName]:
    """Disable rows that are sent once and were; returns their names."""
    if once:
        standing = enabled_rows().filter(pk__in=[row.pk for row in once])
        with transaction(rows_database()):
            # Also when it was changed: the admin's "enable" does not say so, and `recover` must not end it again.
            standing.update(enabled=False, total_run_count=0, date_changed=stored(now))
            _announce(now)
    return [EntryName(row.name) for row in once]
