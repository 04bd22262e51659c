"""A candidate's turn: stand by, take office, send what is due, stand down. Each turn ends within about two seconds.

The elector says who should lead, the ledger what may be sent; here the two meet with the schedule. Losing the office
never ends the process: it stands by again.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Final, Protocol

from celery.beat import ScheduleEntry

from cutover import clock
from cutover.beats.agenda import Agenda
from cutover.beats.dispatcher import Dispatcher
from cutover.conf import POLL_EVERY, CatchUpRule, Config
from cutover.election.elector import Elector, News
from cutover.errors import LedgerUnavailable
from cutover.events import Event, log
from cutover.ledger.claims import Ledger
from cutover.types import EntryName, Identity, Limits, Side, Term

LOOK_EVERY_S: Final = POLL_EVERY.total_seconds()
"""How often the fence, the schedule and the ledger are looked at when nobody says that they have changed."""
MISFIRE_GRACE: Final = dt.timedelta(seconds=30)
"""Without catching up, a slot this late is still sent: a busy leader is late, it has not been away."""
PRUNE_EVERY_S: Final = 3600.0
PRUNE_MOST: Final = 5_000
PRUNE_ON_S: Final = 60.0
"""When to go on where there was more to forget: a hundred entries a minute make more slots than 5,000 an hour."""

_NEVER: Final = -1

Entries = dict[EntryName, tuple[ScheduleEntry, CatchUpRule, Limits]]


class Source(Protocol):
    """Where a side's schedule comes from."""

    def load(self, thorough: bool = True) -> Entries | None:
        """The schedule, or None when it has not changed since the last call. Raises LedgerUnavailable.

        Not ``thorough``: a change that nobody announced may be left for the next call.
        """

    def version(self) -> str:
        """The version of the schedule that was loaded last."""

    def records(self) -> Mapping[EntryName, dt.datetime]:
        """Last runs from before the ledger existed, by entry."""

    def runs(self) -> Mapping[EntryName, dt.datetime]:
        """Last runs that the ledger may not have, by entry: another beat's, between two of ours."""

    def made(self) -> Mapping[EntryName, dt.datetime]:
        """Since when entries that fall due once may stand: such a one is owed though it was noticed too late."""

    def published(self, entries: Sequence[ScheduleEntry]) -> Collection[EntryName]:
        """These entries were sent just now: keep their last run and run count true.

        Returns those that are not to be sent again.
        """

    def recover(self) -> Collection[EntryName]:
        """Make up for a call of ``published`` that was lost: before a leader's first slot, and after an outage.

        Returns those that are not to be sent again.
        """

    def rehearse(self, looks: bool) -> float | None:
        """Called while standing by, at looks and in between: seconds until the next call is wanted, None for none.

        Whatever is done there sends nothing and writes no live state.
        """


class Candidate:
    """One beat process of one side."""

    def __init__(
        self,
        config: Config,
        who: Identity,
        side: Side,
        elector: Elector,
        ledger: Ledger,
        dispatcher: Dispatcher,
        source: Source,
    ) -> None:
        self._config = config
        self._who = who
        self._side = side
        self._elector = elector
        self._ledger = ledger
        self._dispatcher = dispatcher
        self._source = source
        self._agenda = Agenda()
        self._term: Term | None = None
        self._ticked = False
        self._settled = False
        self._settled_version = _NEVER
        self._warm = False
        self._last_id = 0
        self._unread: set[EntryName] = set()
        self._look_at_s = 0.0
        self._resend_at_s = 0.0
        self._prune_at_s = clock.monotonic_s() + PRUNE_EVERY_S
        self._outage_s: float | None = None
        self._backoff_s = 0.0
        self._stood_by_for: Side | None = None
        self._news: frozenset[News] = frozenset()

    def turn(self) -> None:
        """Do what is to be done now, then wait for news or for the next slot, at most two seconds."""
        self._elector.vouch()
        try:
            wait_s = self._lead() if self._term is not None else self._stand_by()
            self._database_found()
        except LedgerUnavailable as exc:
            wait_s = self._database_lost(exc)
        self._news = self._elector.wait(wait_s)

    def close(self) -> None:
        """End the term, give the lease back, leave the race."""
        if self._term is not None:
            with suppress(LedgerUnavailable):
                self._ledger.fence.end_term(self._term, "stopped")
            log(
                Event.TERM_ENDED,
                epoch=self._term.epoch,
                holder=self._who.holder,
                side=self._side,
                reason="stopped",
            )
            self._term = None
        self._elector.stop()

    # --- standing by ------------------------------------------------------------------------------------------------

    def _stand_by(self) -> float:
        if self._elector.holds:
            return self._take_office()
        if looks := self._looks():
            fence = self._ledger.fence.read()
            if not self._warm:
                self._warm_up()
            self._elector.stand(fence.side == self._side)
            self._tell_standing(fence.side)
            # A look at everything takes its time where the schedule is large: not now, if this is the moment to lead.
            self._warm_up(thorough=News.SWITCHED not in self._news)
        rehearse_s = self._source.rehearse(looks)
        return min(self._until_look_s(), self._until_look_s() if rehearse_s is None else rehearse_s)

    def _tell_standing(self, active: Side) -> None:
        if self._stood_by_for == active:
            return
        self._stood_by_for = active
        reason = "waiting for the lease"
        if active is not self._side:
            command = "cutover rollback" if self._side is Side.CODE else "cutover phase3"
            reason = f"the active side is {active}: this beat sends nothing until `manage.py {command}`"
        log(Event.STANDBY_STARTED, holder=self._who.holder, side=self._side, reason=reason)

    def _warm_up(self, thorough: bool = True) -> None:
        """Bring schedule and standings up to date, before they are needed."""
        entries = self._source.load(thorough)
        if entries is not None:
            self._unread |= self._agenda.load(entries, clock.now())
            self._settled, self._settled_version = False, _NEVER
            log(
                Event.SCHEDULE_LOADED,
                side=self._side,
                entries=len(self._agenda),
                version=self._source.version(),
            )
        last, last_id = self._ledger.last_slots(self._last_id, wholly=self._unread)
        self._agenda.settle(last, {})
        self._last_id, self._unread = last_id, set()
        if self._term is None and thorough:
            # So that nothing but the ledger's changes is left to be done by who takes office.
            known = self._ledger.entries.version()
            if known != self._settled_version:
                self._agenda.settle(
                    {}, self._ledger.entries.eligible_alike(self._agenda.fingerprints(), self._agenda.limits())
                )
                self._settled_version = known
        self._warm = True
        self._elector.describe(warm=True, schedule_version=self._source.version(), entries=len(self._agenda))

    # --- leading ----------------------------------------------------------------------------------------------------

    def _take_office(self) -> float:
        term = self._ledger.fence.open_term(self._who, self._side)
        if term is None:
            log(
                Event.TERM_REFUSED,
                holder=self._who.holder,
                side=self._side,
                reason="its side is not the active one",
            )
            self._elector.stand(False)
            self._look_at_s = 0.0
            return 0.0
        log(Event.TERM_STARTED, epoch=term.epoch, holder=self._who.holder, side=self._side)
        self._warm_up(thorough=False)
        self._term, self._ticked, self._settled, self._stood_by_for = term, False, False, None
        self._dispatcher.sweep_soon()
        return self._lead()

    def _settle(self, term: Term) -> bool:
        """Learn since when each entry of the schedule is owed its slots; False when fenced."""
        if self._settled:
            return True
        source, fingerprints, limits = self._source, self._agenda.fingerprints(), self._agenda.limits()
        foreign = self._agenda.unknown(source.runs())
        made = self._agenda.since_last(source.made())
        eligible_since = self._ledger.entries.eligible_since(
            term, fingerprints, source.records(), made, foreign, limits
        )
        if eligible_since is None:
            return False
        self._agenda.settle({}, eligible_since)
        self._settled = True
        return True

    def _lead(self) -> float:
        term = self._term
        if term is None or not self._elector.holds:
            return self._lay_down("the lease is another's")
        if self._ticked and self._looks():
            fence = self._ledger.fence.read()
            if fence.epoch != term.epoch or not self._resend(term, fence.guarded_since):
                return self._lay_down("fenced")
            self._warm_up()
        if not self._settle(term) or not self._send(term):
            return self._lay_down("fenced")
        if not self._ticked:
            self._ledger.fence.first_tick(term)
            self._ticked = True
            self._look_at_s = clock.monotonic_s() + LOOK_EVERY_S
        self._prune()
        return self._until_next_s()

    def _send(self, term: Term) -> bool:
        """One round of sweeping and sending; False when fenced."""
        if self._dispatcher.sweep_in_s() == 0.0:
            swept = self._dispatcher.sweep(term, self._agenda)
            self._agenda.drop(self._source.published(swept.published))
            if swept.fenced:
                return False
            self._agenda.drop(self._source.recover())
        if self._dispatcher.is_blocked:
            return True
        sent = self._dispatcher.send(term, self._agenda, self._agenda.due(clock.now(), MISFIRE_GRACE))
        self._agenda.drop(self._source.published(sent.published))
        return not sent.fenced

    def _resend(self, term: Term, guarded_since: dt.datetime | None) -> bool:
        """Send once more what seems to be lost on the way to a worker; False when fenced."""
        after, now_s = self._config.resend_after, clock.monotonic_s()
        if guarded_since is None or after is None or self._config.run_without_database or now_s < self._resend_at_s:
            return True
        self._resend_at_s = now_s + after.total_seconds() / 4
        return self._dispatcher.resend(term, self._agenda, guarded_since, after)

    def _lay_down(self, reason: str) -> float:
        term, self._term = self._term, None
        self._elector.stand(False)
        self._look_at_s = 0.0
        if term is not None:
            log(Event.TERM_ENDED, epoch=term.epoch, holder=self._who.holder, side=self._side, reason=reason)
            self._ledger.fence.end_term(term, reason)
        return 0.0

    def _prune(self) -> None:
        if clock.monotonic_s() >= self._prune_at_s:
            self._prune_at_s = clock.monotonic_s() + PRUNE_EVERY_S
            if pruned := self._ledger.prune(PRUNE_MOST):
                log(Event.LEDGER_PRUNED, slots=pruned)
            if pruned >= PRUNE_MOST:
                self._prune_at_s = clock.monotonic_s() + PRUNE_ON_S

    # --- waiting ----------------------------------------------------------------------------------------------------

    def _looks(self) -> bool:
        """Whether it is time to look at fence and schedule, or somebody said so."""
        now_s = clock.monotonic_s()
        if now_s < self._look_at_s and not self._news & {News.SWITCHED, News.SCHEDULE}:
            return False
        self._look_at_s = now_s + LOOK_EVERY_S
        return True

    def _until_look_s(self) -> float:
        return max(0.0, self._look_at_s - clock.monotonic_s())

    def _until_next_s(self) -> float:
        waits = [self._until_look_s()]
        if (sweep_s := self._dispatcher.sweep_in_s()) is not None:
            waits.append(sweep_s)
        if not self._dispatcher.is_blocked and (due_at := self._agenda.next_at()) is not None:
            waits.append(max(0.0, (due_at - clock.now()).total_seconds()))
        return min(waits)

    def _database_lost(self, exc: LedgerUnavailable) -> float:
        """Nothing can be sent without the database: let a candidate lead that still reaches it.

        What was under way may have been written all the same, a claim that nobody knows of: it is swept first.
        """
        self._dispatcher.sweep_soon()
        if self._outage_s is None:
            self._outage_s, self._backoff_s = clock.monotonic_s(), 0.1
            log(Event.DATABASE_LOST, holder=self._who.holder, reason=str(exc))
        self._look_at_s = 0.0
        self._backoff_s = min(2 * self._backoff_s, LOOK_EVERY_S)
        wait_s = self._backoff_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not secrecy
        patience_s = self._outage_s + LOOK_EVERY_S - clock.monotonic_s()
        if patience_s > 0:
            return min(wait_s, patience_s)
        self._term = None
        self._elector.stand(False)
        return wait_s

    def _database_found(self) -> None:
        if self._outage_s is not None:
            elapsed_ms = int(1000 * (clock.monotonic_s() - self._outage_s))
            log(Event.DATABASE_FOUND, holder=self._who.holder, elapsed_ms=elapsed_ms)
            self._outage_s = None
