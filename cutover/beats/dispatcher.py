"""The dispatcher: claim, publish, confirm, in this order, for many slots at once; and the sweep of what got stuck."""

import datetime as dt
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, groupby, repeat
from typing import Final

from celery.beat import ScheduleEntry

from cutover.backoff import Backoff
from cutover.beats import pausing
from cutover.beats.agenda import Agenda, Due
from cutover.beats.missed import (
    UNSURE,
    WITHHELD,
    announce_missed,
    missed_of,
)
from cutover.beats.publisher import NEVER_S, Message, Published, Publisher, log_slot
from cutover.beats.sweep import decide
from cutover.clock import SYSTEM, Clock
from cutover.events import Event
from cutover.ledger import Ledger
from cutover.types import Claim, Missed, Slot, Term

CHUNK: Final = 200
"""How many slots are claimed in one commit: enough to make its cost small, few enough to step down soon."""
FIRST: Final = (10, 50)
"""How many the first commits of a round claim: the first message leaves while the others are worked out."""
ROWS: Final = 1_000
"""How many rows one commit writes, missed slots among them: PostgreSQL ends who holds the fence idle for 2 s."""
SWEEP_AGAIN: Final = Backoff(first_s=0.5, most_s=10.0)
"""When what the broker does not take is tried again."""
SWEEP_PAUSED_S: Final = 2.0
"""When a claim is looked at again whose entry is paused."""
SWEEP_FAULTY_S: Final = 10.0
"""When a message is tried again that cannot be sent by its entry's own fault."""


@dataclass(frozen=True, slots=True)
class PlannedSweep:
    """When claims that were not published are looked for; ``before_claims``: nothing more is claimed until then."""

    at_s: float
    before_claims: bool


@dataclass(slots=True)
class Sent:
    """What came of one round: entries published, and whether the fence refused it.

    ``past_slots``: those of which a past slot was published, and which one; no sign of where they stand.
    """

    published: list[ScheduleEntry] = field(default_factory=list)
    fenced: bool = False
    past_slots: list[tuple[ScheduleEntry, dt.datetime]] = field(default_factory=list)


class Dispatcher:
    """Sends slots for one leader at a time. Methods raise LedgerUnavailable; a broker's failure is kept and retried.

    ``heartbeat`` is called at every entry.
    """

    def __init__(
        self,
        ledger: Ledger,
        publisher: Publisher,
        heartbeat: Callable[[], None],
        time: Clock = SYSTEM,
    ) -> None:
        self._ledger, self._publisher = ledger, publisher
        self._heartbeat, self._time = heartbeat, time
        self._backoff = SWEEP_AGAIN
        self._sweep: PlannedSweep | None = None

    def sweep_first(self) -> None:
        """Nothing is claimed before a sweep: a term has begun, or the answer to a commit was lost."""
        self._sweep = PlannedSweep(self._time.monotonic_s(), before_claims=True)
        self._backoff = self._backoff.succeeded()

    @property
    def may_claim(self) -> bool:
        """Whether new slots may be claimed; while the broker takes nothing, none are."""
        return self._sweep is None or not self._sweep.before_claims

    def sweep_in_s(self) -> float | None:
        """Seconds until the next sweep (0 when it is due); None when nothing is known to be stuck."""
        return None if self._sweep is None else max(0.0, self._sweep.at_s - self._time.monotonic_s())

    def sweep(self, term: Term, agenda: Agenda) -> Sent:
        """Publish again what was claimed and never confirmed, under the same task ids.

        What is too late for that is given up, with the reason in the ledger (``sweep``); what is paused stays as it is.
        """
        self._publisher.confirm()
        self._sweep = None
        if claims := self._ledger.claims.unpublished():
            self._ledger.claims.confirm_started()
            claims = self._ledger.claims.unpublished()
        if claims:
            if (paused := self._ledger.claims.read_paused(term)) is None:
                return Sent(fenced=True)
            if any(paused.holds(claim.slot.entry) for claim in claims):
                self._sweep = PlannedSweep(self._time.monotonic_s() + SWEEP_PAUSED_S, before_claims=False)
                claims = [claim for claim in claims if not paused.holds(claim.slot.entry)]
        found = decide(claims, agenda, term, self._time.now())
        given_up = self._ledger.pauses.explain([Missed(slot, reason) for slot, reason in found.given_up.items()])
        reasons = {missed.slot: missed.reason for missed in given_up}
        if claims and not self._ledger.claims.give_up(term, reasons):
            return Sent(fenced=True)
        announce_missed(given_up, term, later_is_sent=lambda slot: slot in found.superseded)
        for message, epoch in found.again:
            log_slot(Event.SLOT_SWEPT, message.slot, epoch)
        return self.publish([message for message, _ in found.again], term)

    def send(self, term: Term, agenda: Agenda, due: Iterable[Due]) -> Sent:
        """Claim, publish and confirm all that is due, and record what is missed; agenda entries move on.

        What is due is worked out, and what was published is confirmed, with the claims that follow.
        """
        sent = Sent()
        with closing(_chunks(self._alive(due))) as chunks:
            for chunk in chunks:
                wanted = {Slot(d.owed.send, d.name): d for d in chunk if d.owed.send is not None}
                asked_s = self._time.monotonic_s()
                outcomes = self._claim(term, list(wanted), chunk)
                if outcomes is None:
                    sent.fenced = True
                    break
                claimed = [(d, slot) for slot, d in wanted.items() if outcomes[slot] is Claim.CLAIMED]
                messages = [
                    Message(d.entry, slot, is_first=True, is_past_slot=d.owed.is_past_slot) for d, slot in claimed
                ]
                published = self._publish(messages, term, asked_s)
                sent.published += published.entries
                sent.past_slots += published.past_slots
                sent.fenced = published.fenced
                for each in chunk:
                    recorded = each.goes_on_from
                    if recorded is not None and outcomes.get(Slot(recorded, each.name)) not in STILL_OWED:
                        agenda.record(each.name, recorded)
                if Claim.PAUSED in outcomes.values():  # unknown here until now: the rest of what is paused is not asked
                    pausing.look(self._ledger, term, self._ledger.fence.read(), agenda)
                    break
                if sent.fenced or not self.may_claim:
                    break
        self._publisher.confirm()
        return sent

    def publish(self, messages: Sequence[Message], term: Term) -> Sent:
        """Publish and confirm claimed slots. A claim that is not taken is swept."""
        published = self._publish(messages, term)
        self._publisher.confirm()
        return Sent(published.entries, published.fenced, published.past_slots)

    def _publish(self, messages: Sequence[Message], term: Term, asked_s: float = NEVER_S) -> Published:
        published = self._publisher.publish(messages, term, asked_s)
        if published.withheld:
            self._ledger.claims.give_up(term, dict.fromkeys(published.withheld, WITHHELD))
        for slot in published.withheld:
            log_slot(Event.SLOT_WITHHELD, slot, term.epoch, reason=WITHHELD)
        self._plan_sweep(published)
        return published

    def _plan_sweep(self, published: Published) -> None:
        spread = 0.8 + 0.4 * self._time.jitter()
        if published.brokers_fault:
            self._backoff = self._backoff.failed()
            at_s = self._time.monotonic_s() + self._backoff.wait_s(1.0) * spread
            self._sweep = PlannedSweep(at_s, before_claims=True)
            return
        if (published.entries or published.past_slots) and self.may_claim:
            self._backoff = self._backoff.succeeded()
        if published.own_fault or published.paused:
            # An entry that fails more often than that must not put the sweep off for ever.
            after_s = SWEEP_PAUSED_S if published.paused else SWEEP_FAULTY_S * spread
            at_s = self._time.monotonic_s() + after_s
            planned = self._sweep
            if planned is None or not planned.before_claims:
                self._sweep = PlannedSweep(min(at_s, planned.at_s) if planned else at_s, before_claims=False)

    def _alive(self, due: Iterable[Due]) -> Iterator[Due]:
        """All that is due. To find what was missed in a long gap takes its time; that is not standing still."""
        for each in due:
            yield each
            self._heartbeat()

    def _claim(self, term: Term, wanted: Sequence[Slot], due: Sequence[Due]) -> Mapping[Slot, Claim] | None:
        """Claim the slots of one chunk of what is due, and record what is missed of it; None when fenced."""
        missed = [record for d in due for record in missed_of(d)]
        unsure = [record for record in missed if record.reason == UNSURE]  # a stock beat's, which knows no pause
        missed = [*unsure, *self._ledger.pauses.explain([record for record in missed if record.reason != UNSURE])]
        outcomes = self._ledger.claims.claim(term, wanted, missed, published=self._publisher.unconfirmed)
        self._publisher.unconfirmed.clear()
        owed = {slot for slot, outcome in outcomes.items() if outcome in STILL_OWED}
        for slot, outcome in outcomes.items():
            if slot not in owed or slot in wanted:
                log_slot(_OF_CLAIM[outcome], slot, term.epoch, outcome=outcome.value)
        if Claim.FENCED in outcomes.values():
            return None
        for _, records in groupby((one for one in unsure if one.slot not in owed), lambda one: one.slot.entry):
            slots = [(one.slot, 1 + one.passed_over) for one in records]
            log_slot(Event.SLOTS_UNSURE, slots[-1][0], term.epoch, slots=sum(n for _, n in slots), reason=UNSURE)
        # Of an entry whose every slot counts what is missed comes apart from what is sent: that is not in its stead.
        sent = {d.name for d in due if d.owed.send is not None and d.owed.missed}
        given_up = [record for record in missed if record.slot not in owed and record.reason != UNSURE]
        announce_missed(given_up, term, later_is_sent=lambda slot: slot.entry in sent)
        return outcomes


STILL_OWED: Final = {Claim.TOO_EARLY, Claim.PAUSED}
"""Outcomes after which nothing of the entry is in the ledger, and it falls due again."""
_OF_CLAIM: Final = {
    Claim.CLAIMED: Event.SLOT_CLAIMED,
    Claim.ALREADY_CLAIMED: Event.SLOT_ALREADY_CLAIMED,
    Claim.FENCED: Event.SLOT_FENCED,
    Claim.TOO_OLD: Event.SLOT_TOO_OLD,
    Claim.TOO_EARLY: Event.SLOT_TOO_EARLY,
    Claim.PAUSED: Event.SLOT_PAUSED,
}


def _chunks(wanted: Iterable[Due]) -> Generator[Sequence[Due]]:
    chunk: list[Due] = []
    rows, sizes = 0, chain(FIRST, repeat(CHUNK))
    size = next(sizes)
    for due in wanted:
        needs = len(due.owed.missed) + len(due.owed.beyond) + (due.owed.send is not None)
        if rows + needs > ROWS and chunk:
            yield chunk
            chunk, rows = [], 0
        chunk.append(due)
        rows += needs
        if len(chunk) == size:
            yield chunk
            chunk, rows, size = [], 0, next(sizes)
    if chunk:
        yield chunk
