"""Replay: a leader's chore of sending the slots that were missed and that an operator has asked for."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from celery.beat import ScheduleEntry
from django.db.models.expressions import Combinable

from cutover.beats.agenda import Agenda
from cutover.beats.dispatcher import Dispatcher
from cutover.beats.missed import NO_ENTRY
from cutover.beats.publisher import Message, log_slot
from cutover.beats.sources import PastSlots
from cutover.events import Event, log
from cutover.ledger import Ledger
from cutover.ledger.fence import FenceView
from cutover.plural import counted
from cutover.types import Term

AT_ONCE: Final = 100
"""How many slots are replayed at one poll, which is every two seconds: what falls due meanwhile waits for these."""
_ASKED: Final = "replay_is_asked_for"


class Note(Protocol):
    """Takes note that entries were sent, as ``Schedule.published`` does."""

    def __call__(self, entries: Sequence[ScheduleEntry], past_slots: PastSlots = ()) -> None: ...


class Replay:
    """Claims under the leader's own epoch, and publishes as any other slot; ``published`` is told what was sent."""

    def __init__(self, ledger: Ledger, dispatcher: Dispatcher, published: Note) -> None:
        self._ledger, self._dispatcher, self._published = ledger, dispatcher, published
        self._asks = {_ASKED: ledger.replays.asked}

    @property
    def asks(self) -> Mapping[str, Combinable]:
        """Whether there is anything to replay: asked with the poll of the fence, and most often all that is asked."""
        return self._asks

    def run(self, term: Term, fence: FenceView, agenda: Agenda) -> bool:
        """Send the oldest of what was asked for and is not paused; False when fenced.

        Nothing while the broker takes nothing.
        """
        if not fence.answers.get(_ASKED) or not self._dispatcher.may_claim or agenda.paused.is_all:
            return True
        taken = self._ledger.replays.claim(term, lambda name: agenda.entry(name) is not None, AT_ONCE)
        if taken is None:
            return False
        for name, slots in Counter(slot.entry for slot in taken.unknown).items():
            log(
                Event.ENTRY_FAILED,
                entry=name,
                reason=f"{counted(slots, 'slot is', 'slots are')} not replayed: {NO_ENTRY.format(term.side)}",
            )
        for slot in taken.claimed:
            log_slot(Event.SLOT_REPLAYED, slot, term.epoch)
        entries = ((agenda.entry(slot.entry), slot) for slot in taken.claimed)
        messages = [Message(entry, slot, True, is_past_slot=True) for entry, slot in entries if entry is not None]
        sent = self._dispatcher.publish(messages, term)
        self._published(sent.published, sent.past_slots)
        return not sent.fenced
