"""The dispatcher: claim, publish, confirm, in this order, for many slots at once; and the sweep of what got stuck."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from celery.beat import ScheduleEntry

from cutover.backoff import Backoff
from cutover.beats.agenda import Agenda, Due
from cutover.beats.publisher import Message, Published, Publisher
from cutover.clock import SYSTEM, Clock
from cutover.events import Event, log
from cutover.ledger import Ledger
from cutover.types import Claim, Epoch, Missed, Slot, Term

CHUNK: Final = 200
"""How many slots are claimed in one commit: enough to make its cost small, few enough to step down soon."""
ROWS: Final = 1_000
"""How many rows one commit writes, missed slots among them: PostgreSQL ends who holds the fence idle for 2 s."""
SWEEP_AGAIN: Final = Backoff(first_s=0.5, most_s=10.0)
"""When what the broker does not take is tried again."""
SWEEP_FAULTY_S: Final = 10.0
"""When a message is tried again that cannot be sent by its entry's own fault."""
PASSED_OVER: Final = "a later slot was sent in its stead"
SUPERSEDED: Final = "superseded by a newer slot before it was published"
TOO_LATE: Final = "older than the catch-up window"
WITHHELD: Final = "the project's own scheduler sent no message for it"


@dataclass(frozen=True, slots=True)
class Sweep:
    """When claims that were not published are looked for; ``before_claims``: nothing more is claimed until then."""

    at_s: float
    before_claims: bool


@dataclass(slots=True)
class Sent:
    """What came of one round: entries published, and whether the fence refused it."""

    published: list[ScheduleEntry] = field(default_factory=list)
    fenced: bool = False


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
        self._sweep: Sweep | None = None

    def sweep_first(self) -> None:
        """Nothing is claimed before a sweep: a term has begun, or the answer to a commit was lost."""
        self._sweep, self._backoff = Sweep(self._time.monotonic_s(), before_claims=True), self._backoff.succeeded()

    @property
    def may_claim(self) -> bool:
        """Whether new slots may be claimed; while the broker takes nothing, none are."""
        return self._sweep is None or not self._sweep.before_claims

    def sweep_in_s(self) -> float | None:
        """Seconds until the next sweep (0 when it is due); None when nothing is known to be stuck."""
        return None if self._sweep is None else max(0.0, self._sweep.at_s - self._time.monotonic_s())

    def sweep(self, term: Term, agenda: Agenda) -> Sent:
        """Publish again what was claimed and never confirmed, under the same task ids.

        Given up, with the reason in the ledger: a claim that a newer slot of its entry supersedes, one older than its
        catch-up window, and one whose entry this side does not have.
        """
        self._publisher.confirm()
        self._ledger.claims.confirm_started()
        self._sweep = None
        hopeless: dict[Slot, str] = {}
        stuck: list[tuple[Message, Epoch]] = []
        now = self._time.now()
        for claim in self._ledger.claims.unpublished():
            entry = agenda.entry(claim.slot.entry)
            if claim.superseded:
                hopeless[claim.slot] = _because(SUPERSEDED, claim.fault)
            elif entry is None:
                hopeless[claim.slot] = f"side {term.side} has no such entry"
            elif now - claim.slot.due_at > agenda.window(claim.slot.entry):
                hopeless[claim.slot] = _because(TOO_LATE, claim.fault)
            else:
                # Of what another leader claimed nobody knows whether it was announced: it is not done again.
                stuck.append((Message(entry, claim.slot, is_first=claim.epoch == term.epoch), claim.epoch))
        if (hopeless or stuck) and not self._ledger.claims.give_up(term, hopeless):
            return Sent(fenced=True)
        for slot, reason in hopeless.items():
            _log(Event.SLOT_MISSED, slot, term.epoch, reason=reason)
        for message, epoch in stuck:
            _log(Event.SLOT_SWEPT, message.slot, epoch)
        return Sent(self.publish([message for message, _ in stuck], term))

    def send(self, term: Term, agenda: Agenda, due: Iterable[Due]) -> Sent:
        """Claim, publish and confirm all that is due, and record what is missed; agenda entries move on."""
        sent = Sent()
        for chunk in _chunks(self._alive(due)):
            wanted = {Slot(d.owed.send, d.name): d.entry for d in chunk if d.owed.send is not None}
            outcomes = self._claim(term, list(wanted), chunk)
            if outcomes is None:
                sent.fenced = True
                break
            claimed = [(entry, slot) for slot, entry in wanted.items() if outcomes[slot] is Claim.CLAIMED]
            sent.published += self.publish([Message(entry, slot, is_first=True) for entry, slot in claimed], term)
            for each in chunk:
                settled = each.settled
                if settled is not None and outcomes.get(Slot(settled, each.name)) is not Claim.TOO_EARLY:
                    agenda.record(each.name, settled)
            if not self.may_claim:
                break
        return sent

    def publish(self, messages: Sequence[Message], term: Term) -> list[ScheduleEntry]:
        """Publish and confirm claimed slots; returns the entries. A claim that is not taken is swept."""
        published = self._publisher.publish(messages, term.epoch)
        if published.withheld:
            self._ledger.claims.give_up(term, dict.fromkeys(published.withheld, WITHHELD))
        for slot in published.withheld:
            _log(Event.SLOT_WITHHELD, slot, term.epoch, reason=WITHHELD)
        self._plan_sweep(published)
        return published.entries

    def _plan_sweep(self, published: Published) -> None:
        spread = 0.8 + 0.4 * self._time.jitter()
        if published.brokers_fault:
            self._backoff = self._backoff.failed()
            self._sweep = Sweep(self._time.monotonic_s() + self._backoff.wait_s(1.0) * spread, before_claims=True)
            return
        if published.entries and self.may_claim:
            self._backoff = self._backoff.succeeded()
        if published.own_fault:
            # An entry that fails more often than that must not put the sweep off for ever.
            at_s = self._time.monotonic_s() + SWEEP_FAULTY_S * spread
            planned = self._sweep
            if planned is None or not planned.before_claims:
                self._sweep = Sweep(min(at_s, planned.at_s) if planned else at_s, before_claims=False)

    def _alive(self, due: Iterable[Due]) -> Sequence[Due]:
        """All that is due. To find what was missed in a long gap takes its time; that is not standing still."""
        wanted = []
        for each in due:
            wanted.append(each)
            self._heartbeat()
        return wanted

    def _claim(self, term: Term, wanted: Sequence[Slot], due: Sequence[Due]) -> Mapping[Slot, Claim] | None:
        """Claim the slots of one chunk of what is due, and record what is missed of it; None when fenced."""
        missed = [record for d in due for record in _missed(d)]
        outcomes = self._ledger.claims.claim(term, wanted, missed)
        early = {slot for slot, outcome in outcomes.items() if outcome is Claim.TOO_EARLY}
        for slot, outcome in outcomes.items():
            if slot not in early or slot in wanted:
                _log(_OF_CLAIM[outcome], slot, term.epoch, outcome=outcome.value)
        if Claim.FENCED in outcomes.values():
            return None
        for record in missed:
            if record.slot not in early:
                _log(Event.SLOT_MISSED, record.slot, term.epoch, reason=record.reason, passed_over=record.passed_over)
        return outcomes


_OF_CLAIM: Final = {
    Claim.CLAIMED: Event.SLOT_CLAIMED,
    Claim.ALREADY_CLAIMED: Event.SLOT_ALREADY_CLAIMED,
    Claim.FENCED: Event.SLOT_FENCED,
    Claim.TOO_OLD: Event.SLOT_TOO_OLD,
    Claim.TOO_EARLY: Event.SLOT_TOO_EARLY,
}


def _chunks(wanted: Sequence[Due]) -> Iterator[Sequence[Due]]:
    chunk: list[Due] = []
    rows = 0
    for due in wanted:
        needs = len(due.owed.missed) + (due.owed.send is not None)
        if chunk and (len(chunk) >= CHUNK or rows + needs > ROWS):
            yield chunk
            chunk, rows = [], 0
        chunk.append(due)
        rows += needs
    if chunk:
        yield chunk


def _because(reason: str, fault: str) -> str:
    return f"{reason}: {fault}" if fault else reason


def _missed(due: Due) -> list[Missed]:
    """The slots that are not sent, each with its reason; the oldest also counts those that have no record."""
    reason = PASSED_OVER if due.owed.send else TOO_LATE
    uncounted = [due.owed.passed_over] + [0] * len(due.owed.missed)
    return [Missed(Slot(at, due.name), reason, older) for at, older in zip(due.owed.missed, uncounted, strict=False)]


def _log(event: Event, slot: Slot, epoch: Epoch, **details: object) -> None:
    log(event, entry=slot.entry, due_at=slot.due_at.isoformat(), epoch=epoch, **details)
