"""A candidate: one beat process, from standing by to leading and back.

Each turn ends within about one poll. The elector says who should lead, the ledger what may be sent; here the two meet
with the schedule. Losing leadership never ends the process: it stands by again.

    standby --elected, and the fence admits its side--> leader --fenced, or the lease is another's--> standby
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Final

from cutover import metrics, signals
from cutover.backoff import Backoff
from cutover.beats.dispatcher import Dispatcher
from cutover.beats.garbage import PutAway
from cutover.beats.item import MISFIRE_GRACE
from cutover.beats.leadership import Chore, Leadership
from cutover.beats.schedule import Schedule
from cutover.beats.shadow import Shadow
from cutover.beats.sources import NOT_POLLED, Polled
from cutover.clock import SYSTEM, Clock
from cutover.conf import POLL_EVERY
from cutover.election.elector import Description, Elector, News
from cutover.errors import LedgerUnavailable
from cutover.events import Event, log
from cutover.ledger import Ledger
from cutover.ledger.fence import FenceView, Questions
from cutover.types import Epoch, Identity, Side

POLL_EVERY_S: Final = POLL_EVERY.total_seconds()
"""How often fence, schedule and ledger are polled when nobody says that they have changed."""
_RETRY: Final = Backoff(first_s=0.2, most_s=POLL_EVERY_S)
_CHANGES: Final = frozenset({News.SWITCHED, News.SCHEDULE, News.ELECTION})

Within = Callable[[Callable[[], float]], float]
"""Something that a turn's work is to be done within."""


@dataclass(frozen=True, slots=True)
class Outage:
    """The database gives no answer: since when, and when it is asked again."""

    since_s: float
    backoff: Backoff


class Candidate:
    """One beat process of one side."""

    def __init__(
        self,
        who: Identity,
        side: Side,
        elector: Elector,
        ledger: Ledger,
        dispatcher: Dispatcher,
        schedule: Schedule,
        chores: Sequence[Chore] = (),
        shadow: Shadow | None = None,
        time: Clock = SYSTEM,
    ) -> None:
        self._who, self._side = who, side
        self._elector, self._ledger, self._time = elector, ledger, time
        self._dispatcher, self._schedule = dispatcher, schedule
        self._chores, self._shadow = chores, shadow
        self._put_away = PutAway()
        # What changes:
        self._leadership: Leadership | None = None
        self._outage: Outage | None = None
        self._asks: Questions | None = None
        self._poll_at_s = 0.0
        self._news: frozenset[News] = frozenset()
        self._logged_for: Side | None = None
        self._epoch: Epoch | None = None

    def turn(self, within: Within = lambda work: work()) -> None:
        """Do what is to be done now, then wait for news or for the next slot, at most until the next poll.

        ``within`` calls what it is given, and returns its answer.
        """
        self._news = self._elector.wait(within(self._work))

    def _work(self) -> float:
        """What is to be done now; how long to wait after it, in seconds."""
        self._elector.heartbeat()
        try:
            wait_s = self._lead(self._leadership) if self._leadership is not None else self._stand_by()
            self._database_answers()
        except LedgerUnavailable as exc:
            wait_s = self._database_lost(exc)
        metrics.beat.turned(self._leadership.term.epoch if self._leadership else None)
        return wait_s

    def close(self) -> None:
        """End the term, release the lease, leave the election."""
        if self._leadership is not None:
            with suppress(LedgerUnavailable):
                self._end_term(self._leadership, "stopped")
            self._leadership = None
        self._elector.stop()

    def _stand_by(self) -> float:
        """A turn of a standby: keep warm, campaign where the own side is active; how long to wait."""
        if self._elector.is_leading:
            return self._be_elected()
        polled = None
        if self._is_poll_due():
            fence = self._poll()
            polled = fence.answers
            is_first = not self._schedule.loads
            if is_first:
                self._refresh(polled=polled, revision=fence.schedule_revision)  # it could not lead before
            if fence.side is self._side:
                self._elector.campaign()
            else:
                self._elector.withdraw()
            self._log_standby(fence.side)
            # A full refresh takes its time where the schedule is large: when another has just been elected it can wait.
            full = self._epoch in (None, fence.epoch)
            if not is_first:
                self._refresh(full=full, polled=polled, revision=fence.schedule_revision)
            self._epoch = fence.epoch
        shadow_s = self._shadow.turn(polled) if self._shadow is not None else None
        return self._until_poll_s() if shadow_s is None else min(self._until_poll_s(), shadow_s)

    def _log_standby(self, active: Side) -> None:
        if self._logged_for is active:
            return
        self._logged_for = active
        reason = "waiting for the lease"
        if active is not self._side:
            command = "cutover rollback" if self._side is Side.CODE else "cutover phase3"
            reason = f"the active side is {active}: this beat sends nothing until `manage.py {command}`"
        log(Event.STANDBY_STARTED, holder=self._who.holder, side=self._side, reason=reason)

    def _be_elected(self) -> float:
        """The lease is won: open a term, if the fence admits this side, and lead."""
        term = self._ledger.fence.open_term(self._who, self._side)
        if term is None:
            reason = "its side is not the active one"
            log(Event.TERM_REFUSED, holder=self._who.holder, side=self._side, reason=reason)
            return self._withdraw()
        log(Event.TERM_STARTED, epoch=term.epoch, holder=self._who.holder, side=self._side)
        signals.send_in_background(
            signals.leader_changed, epoch=int(term.epoch), side=self._side.value, **asdict(self._who)
        )
        self._dispatcher.sweep_first()
        self._refresh(full=False)
        self._leadership, self._logged_for = Leadership(term), None
        # The first message waits for no poll: what there was news of has just been read.
        self._news, self._poll_at_s = frozenset(), self._time.monotonic_s() + POLL_EVERY_S
        return self._lead(self._leadership)

    def _lead(self, leadership: Leadership) -> float:
        """A turn of a leader: sweep, send, and at a poll the rest; how long to wait."""
        term = leadership.term
        if not self._elector.is_leading:
            return self._step_down(leadership, "the lease is lost")
        if self._is_poll_due():
            fence = self._poll()
            agenda = self._schedule.agenda
            if fence.epoch != term.epoch or not all(chore.run(term, fence, agenda) for chore in self._chores):
                return self._step_down(leadership, "fenced")
            self._ledger.fence.record_seen(term)
            if not leadership.has_declared:
                if not self._schedule.declare(term, self._who):
                    return self._step_down(leadership, "fenced")
                leadership = self._leadership = replace(leadership, has_declared=True)
            self._refresh(polled=fence.answers)
        if leadership.settled_load != self._schedule.loads:
            if not self._schedule.settle(term):
                return self._step_down(leadership, "fenced")
            leadership = self._leadership = replace(leadership, settled_load=self._schedule.loads)
        if not self._send(leadership):
            return self._step_down(leadership, "fenced")
        if not leadership.has_ticked and self._dispatcher.may_claim:  # a leader that cannot publish is none yet
            self._ledger.fence.record_first_tick(term)
            if not self._schedule.retract_early(term):
                return self._step_down(leadership, "fenced")
            self._leadership = replace(leadership, has_ticked=True)
            self._poll_at_s = self._time.monotonic_s() + POLL_EVERY_S
        return self._until_next_s()

    def _send(self, leadership: Leadership) -> bool:
        """One round of sweeping and sending; False when fenced."""
        term, agenda = leadership.term, self._schedule.agenda
        if self._dispatcher.sweep_in_s() == 0.0:
            swept = self._dispatcher.sweep(term, agenda)
            self._schedule.published(swept.published, swept.past_slots)
            if swept.fenced:
                return False
            self._schedule.recover()
        if not self._dispatcher.may_claim:
            return True
        sent = self._dispatcher.send(term, agenda, agenda.due(self._time.now(), MISFIRE_GRACE))
        self._schedule.published(sent.published, sent.past_slots)
        return not sent.fenced

    def _step_down(self, leadership: Leadership, reason: str) -> float:
        self._leadership = None
        wait_s = self._withdraw()
        self._end_term(leadership, reason)
        return wait_s

    def _end_term(self, leadership: Leadership, reason: str) -> None:
        term = leadership.term
        log(Event.TERM_ENDED, epoch=term.epoch, holder=self._who.holder, side=self._side, reason=reason)
        self._ledger.fence.end_term(term, reason)

    def _withdraw(self) -> float:
        """Campaign no more until the next poll, which is at once."""
        self._elector.withdraw()
        self._poll_at_s = 0.0
        return 0.0

    def _poll(self) -> FenceView:
        """The fence, and in the same statement what else a poll asks; the next poll is a poll's time later."""
        self._poll_at_s = self._time.monotonic_s() + POLL_EVERY_S
        if self._asks is None:
            shadow = [self._shadow.asks] if self._shadow is not None else []
            asks = (self._schedule.asks, *(chore.asks for chore in self._chores), *shadow)
            self._asks = {name: asked for each in asks for name, asked in each.items()}
        return self._ledger.fence.read(self._asks)

    def _refresh(self, *, full: bool = True, polled: Polled = NOT_POLLED, revision: int | None = None) -> None:
        """Bring the schedule up to date, and say so; with the fence's ``revision``, have it settled ahead too."""
        self._schedule.refresh(full=full, polled=polled)
        if self._schedule.has_more_to_read:
            self._poll_at_s = 0.0
        elif revision is not None:
            self._schedule.settle_ahead(revision)
        self._put_away.loaded(self._schedule.loaded)
        self._elector.describe(Description(True, self._schedule.version, len(self._schedule.agenda)))

    def _is_poll_due(self) -> bool:
        """Whether it is time to poll, or somebody said that something has changed."""
        return self._time.monotonic_s() >= self._poll_at_s or bool(self._news & _CHANGES)

    def _until_poll_s(self) -> float:
        return max(0.0, self._poll_at_s - self._time.monotonic_s())

    def _until_next_s(self) -> float:
        waits = [self._until_poll_s()]
        if (sweep_s := self._dispatcher.sweep_in_s()) is not None:
            waits.append(sweep_s)
        if self._dispatcher.may_claim and (due_at := self._schedule.agenda.next_at()) is not None:
            waits.append(max(0.0, (due_at - self._time.now()).total_seconds()))
        return min(waits)

    def _database_lost(self, exc: LedgerUnavailable) -> float:
        """Nothing can be sent without the database: after a poll's time, let a candidate lead that still reaches it.

        What was under way may have been written all the same, a claim that nobody knows of: it is swept first.
        """
        self._dispatcher.sweep_first()
        outage = self._outage
        if outage is None:
            outage = Outage(self._time.monotonic_s(), _RETRY)
            log(Event.DATABASE_LOST, holder=self._who.holder, reason=str(exc))
        outage = self._outage = replace(outage, backoff=outage.backoff.failed())
        self._poll_at_s = 0.0
        wait_s = outage.backoff.wait_s(self._time.jitter())
        patience_s = outage.since_s + POLL_EVERY_S - self._time.monotonic_s()
        if patience_s > 0:
            return min(wait_s, patience_s)
        if self._leadership is not None:
            term, self._leadership = self._leadership.term, None
            reason = "the database gives no answer"
            log(Event.TERM_ENDED, epoch=term.epoch, holder=self._who.holder, side=self._side, reason=reason)
        self._elector.withdraw()
        return wait_s

    def _database_answers(self) -> None:
        if self._outage is not None:
            elapsed_ms = int(1000 * (self._time.monotonic_s() - self._outage.since_s))
            log(Event.DATABASE_FOUND, holder=self._who.holder, elapsed_ms=elapsed_ms)
            self._outage = None
