"""A shadow run: a standby is asked to compute what it would send, is watched, and compared with the code side."""

import datetime as dt
from typing import Final

from cutover import clock
from cutover.errors import LeaseUnavailable, PhaseFailed
from cutover.ledger.database import outages
from cutover.models import ShadowRun
from cutover.phases.context import Context
from cutover.phases.evidence.comparison import Findings, compare
from cutover.types import HolderId

GRACE: Final = dt.timedelta(seconds=3)
"""How long after its end both sides are given to write what fell due at the very last."""
_POLL_S: Final = 1.0
_PROGRESS_S: Final = 10.0


def rehearse(context: Context, duration: dt.timedelta) -> Findings:
    """Ask a standby for a shadow run, wait for its end, compare.

    Raises PhaseFailed when no standby begins one, or when the one that began it is gone and slots are missing.
    """
    with outages(context.alias):
        ShadowRun.objects.using(context.alias).all().delete()  # of earlier runs, with their slots
        run = ShadowRun.objects.using(context.alias).create(
            asked_at=clock.now(), seconds=round(duration.total_seconds())
        )
    try:
        context.lease.announce_schedule()
        begun = context.wait_for(
            lambda: _begun(context, run), context.config.takeover_timeout, "a standby to begin the shadow run"
        )
        if begun is None:
            raise PhaseFailed("No standby of the database side began the shadow run. Look at the log of that beat.")
        began_at, holder = begun
        context.progress(f"shadow run: {_process(holder)} rehearses")
        end = began_at + duration
        reported = clock.monotonic_s()
        while clock.now() < end + GRACE:
            clock.sleep(_POLL_S)
            if clock.now() < end and _seen_ago(context, holder) is None:
                raise _gone(holder)
            if clock.monotonic_s() - reported >= _PROGRESS_S:
                reported = clock.monotonic_s()
                _report(context, compare(context, run, began_at, min(end, clock.now() - GRACE)), end)
        found = compare(context, run, began_at, end)
        if found.missing and not _is_alive(context, holder):
            raise _gone(holder)
        return found
    finally:
        with outages(context.alias):
            ShadowRun.objects.using(context.alias).filter(pk=run.pk).update(ended_at=clock.now())


def _begun(context: Context, run: ShadowRun) -> tuple[dt.datetime, HolderId] | None:
    with outages(context.alias):
        began_at, holder = ShadowRun.objects.using(context.alias).values_list("began_at", "holder").get(pk=run.pk)
    return None if began_at is None else (began_at, HolderId(holder))


def _is_alive(context: Context, holder: HolderId) -> bool:
    """Whether the standby reports again; a killed one is known to be gone once its last report counts no more."""
    asked_at = clock.monotonic_s()

    def ask() -> bool | None:
        seen_ago = _seen_ago(context, holder)
        if seen_ago is None:
            return False
        return True if seen_ago.total_seconds() < clock.monotonic_s() - asked_at else None

    return context.wait_for(ask, context.config.lease, "a report of the standby", _POLL_S) is True


def _seen_ago(context: Context, holder: HolderId) -> dt.timedelta | None:
    """How long ago the standby reported; None when it is gone, zero where Redis gives no answer."""
    try:
        return next((beat.seen_ago for beat in context.lease.beats() if beat.holder == holder), None)
    except LeaseUnavailable:
        return dt.timedelta(0)


def _gone(holder: HolderId) -> PhaseFailed:
    return PhaseFailed(
        f"The standby that rehearsed, {_process(holder)}, is gone: the shadow run proves nothing. "
        "See why that beat ended, then run the command again."
    )


def _process(holder: HolderId) -> str:
    return holder.rpartition(":")[0]


def _report(context: Context, found: Findings, end: dt.datetime) -> None:
    left = max(0.0, (end - clock.now()).total_seconds())
    context.progress(f"shadow run: {found.alike} slots alike, {found.differing} not; {left:.0f} s to go")
