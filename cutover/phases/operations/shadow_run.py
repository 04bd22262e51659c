"""A shadow run: a standby is asked to compute what it would send, is watched, and compared with the code side."""

import datetime as dt
from typing import Final

from cutover import clock
from cutover.election.campaign import COUNTS_FOR, REPORT_EVERY_S
from cutover.errors import LeaseUnavailable, PhaseFailed
from cutover.ledger.database import outages
from cutover.models import ShadowRun
from cutover.phases.context import Context
from cutover.phases.evidence.comparison import Findings, compare
from cutover.plural import counted
from cutover.types import HolderId

GRACE: Final = dt.timedelta(seconds=3)
"""How long after its end both sides are given to write what fell due at the very last."""
_POLL_S: Final = 1.0


def rehearse(context: Context, duration: dt.timedelta) -> Findings:
    """Ask a standby for a shadow run, wait for its end, compare.

    Raises PhaseFailed when no standby begins one, or when the one that began it is gone and slots are missing.
    """
    runs = ShadowRun.objects.using(context.alias)
    with outages(context.alias):
        runs.all().delete()  # of earlier runs, with their slots
        run = runs.create(asked_at=clock.now(), seconds=round(duration.total_seconds()))

    def begun() -> ShadowRun | None:
        with outages(context.alias):
            return runs.filter(pk=run.pk, began_at__isnull=False).first()

    try:
        context.lease.announce_schedule()
        watched = context.wait_for(begun, context.config.takeover_timeout, "a standby to begin the shadow run")
        if watched is None:
            raise PhaseFailed("No standby of the database side began the shadow run. Look at the log of that beat.")
        return _watch(context, watched, watched.began_at + duration)
    finally:
        with outages(context.alias):
            runs.filter(pk=run.pk).update(ended_at=clock.now())


def _watch(context: Context, run: ShadowRun, end: dt.datetime) -> Findings:
    holder = HolderId(run.holder)
    process = holder.rpartition(":")[0]
    gone = PhaseFailed(
        f"The standby that rehearsed, {process}, is gone: the shadow run proves nothing. "
        "See why that beat ended, then run the command again."
    )
    context.progress(f"shadow run: {process} rehearses")
    reported = clock.monotonic_s()
    while (now := clock.now()) < end + GRACE:
        if now < end and _seen_ago(context, holder) is None:
            raise gone
        if clock.monotonic_s() - reported >= 10.0:
            reported = clock.monotonic_s()
            found = compare(context, run, run.began_at, min(end, now - GRACE))
            left = max(0.0, (end - now).total_seconds())
            context.progress(
                f"shadow run: {counted(found.alike, 'slot')} alike, {found.differing} not; {left:.0f} s to go"
            )
        clock.sleep(_POLL_S)
    found = compare(context, run, run.began_at, end)
    if found.missing and not _is_alive(context, holder):
        raise gone
    return found


def _is_alive(context: Context, holder: HolderId) -> bool:
    """Whether the standby reports again; a killed one is known to be gone once its last report counts no more."""
    asked_at = clock.monotonic_s()

    def ask() -> bool | None:
        if (seen_ago := _seen_ago(context, holder)) is None:
            return False
        return True if seen_ago.total_seconds() < clock.monotonic_s() - asked_at else None

    counts_for = dt.timedelta(seconds=COUNTS_FOR * REPORT_EVERY_S)
    return context.wait_for(ask, counts_for, "a report of the standby", _POLL_S) is True


def _seen_ago(context: Context, holder: HolderId) -> dt.timedelta | None:
    """How long ago the standby reported; None when it is gone, zero where Redis gives no answer."""
    try:
        return next((beat.seen_ago for beat in context.lease.beats() if beat.holder == holder), None)
    except LeaseUnavailable:
        return dt.timedelta(0)
