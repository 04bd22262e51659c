"""Which beats report, which of them could lead, and which one has led since a switch."""

import datetime as dt

from cutover.election.lease import Presence
from cutover.errors import LeaseUnavailable
from cutover.ledger.database import outages
from cutover.models import Term
from cutover.phases.context import Context
from cutover.types import Epoch, Side


def warm_beats(context: Context, side: Side) -> list[Presence]:
    """The warm beats of ``side``. Raises LeaseUnavailable."""
    return [beat for beat in context.lease.beats() if beat.side is side and beat.warm]


def is_seen(context: Context, side: Side) -> bool:
    """Whether a warm beat of ``side`` is known to be there; without Redis none is."""
    try:
        return bool(warm_beats(context, side))
    except LeaseUnavailable:
        return False


def has_loaded(context: Context, version: dt.datetime | None) -> bool:
    """Whether a warm beat of the database side has loaded that version of the schedule, or a later one."""
    loaded = map(_version, warm_beats(context, Side.DATABASE))
    return version is not None and any(known is not None and known >= version for known in loaded)


def leader_since(context: Context, epoch: int, side: Side) -> Term | None:
    """The term of ``side`` that began since ``epoch``, goes on, and has completed a tick."""
    term = context.ledger.fence.term_since(Epoch(epoch))
    leads = term is not None and term.side == side and term.first_tick_at is not None and term.ended_at is None
    return term if leads else None


def first_led_at(context: Context, epoch: int, side: Side) -> dt.datetime | None:
    """When the first term of ``side`` after ``epoch`` completed its first tick; None while none has."""
    with outages(context.alias):
        terms = Term.objects.using(context.alias).filter(epoch__gt=epoch, side=side.value, first_tick_at__isnull=False)
        return terms.order_by("epoch").values_list("first_tick_at", flat=True).first()


def _version(beat: Presence) -> dt.datetime | None:
    try:
        return dt.datetime.fromisoformat(beat.schedule_version)
    except ValueError:
        return None
