"""The elector: keeps one candidate in the race for the lease, in a thread of its own.

It renews on time whatever the sending loop is doing, and wakes that loop when the office is won or lost. It does NOT
decide what may be sent: a loop that still believes to lead is refused by the ledger's fence. Only its thread writes
the lease, so that giving it back and renewing it cannot cross.

Durations: ``lease`` is how long others wait when nothing shows that the leader is dead; a third of it passes between
renewals, so two may fail; the lease of a loop that has not vouched for itself for one lease is given back.
"""

from __future__ import annotations

import datetime as dt
import random
import threading
from contextlib import suppress
from enum import StrEnum
from typing import Final

import redis

from cutover import clock
from cutover.election.connection import Link
from cutover.election.lease import POKED, SCHEDULE, SWITCHED, Details, Lease, LeaseView, Renewal
from cutover.errors import LeaseUnavailable
from cutover.events import Event, log
from cutover.types import Identity, Side

REPORT_EVERY_S: Final = 2.0
EVIDENCE_EVERY_S: Final = 0.7
"""With one report every two seconds this makes 1.93 commands a second for a standby: less than two."""
EVIDENCE_AGAIN_S: Final = 0.2
"""A leader whose connection is gone is looked for once more: it may only have reconnected."""
BACKOFF_FIRST_S: Final = 0.05
BACKOFF_MOST_S: Final = 2.0
JOIN_S: Final = 3.0


class News(StrEnum):
    """Why the loop was woken."""

    OFFICE = "office"
    SWITCHED = "switched"
    SCHEDULE = "schedule"
    SIGNAL = "signal"


class Elector:
    """One candidate's part in the election. All methods but ``start`` and ``stop`` may be called at any time."""

    def __init__(
        self,
        client: redis.Redis,
        lease: Lease,
        who: Identity,
        side: Side,
        ttl: dt.timedelta,
        renew_every: dt.timedelta,
    ) -> None:
        self._client = client
        self._lease = lease
        self._who = who
        self._side = side
        self._ttl_s = ttl.total_seconds()
        self._renew_every_s = renew_every.total_seconds()
        self._thread = threading.Thread(target=self._run, name="cutover-elector", daemon=True)
        self._changed = threading.Condition(threading.RLock())  # re-entrant: a signal handler may interrupt its owner
        self._news: set[News] = set()
        self._stopping = False
        self._stands = False
        self._holds = False
        self._linked = False
        self._vouched_at = clock.monotonic_s()
        self._details = (False, "", 0)
        self._stalled = False
        self._due_at = {"report": 0.0, "evidence": 0.0, "renew": 0.0}
        self._rival: LeaseView | None = None
        self._rival_until = 0.0
        self._missing: tuple[str, int] | None = None
        self._may_hold = False
        self._has_left = False

    # --- told by the loop -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Enter the race; once."""
        self._thread.start()

    def stop(self) -> None:
        """Give the lease back and leave the race; returns when that is done or Redis did not answer in time."""
        with self._changed:
            self._stopping = True
        self._poke()
        if self._thread.is_alive():
            self._thread.join(JOIN_S)
        if not self._has_left and not self._thread.is_alive():
            self._leave_behind_the_thread()

    def _leave_behind_the_thread(self) -> None:
        """Its connection was cut as it ended: what it could not take back is taken back by another one."""
        with suppress(LeaseUnavailable):
            self._lease.release(self._who.holder)
            self._lease.leave(self._who.holder)

    def stand(self, for_office: bool) -> None:
        """Say whether this candidate wants the lease; a lease that is held and no longer wanted is given back."""
        with self._changed:
            if self._stands == for_office:
                return
            self._stands = for_office
            if not for_office:
                self._holds = False
            self._due_at["report"] = 0.0
        self._poke()

    def vouch(self) -> None:
        """The loop is alive; to be called at every turn of it."""
        self._vouched_at = clock.monotonic_s()

    def describe(self, warm: bool, schedule_version: str, entries: int) -> None:
        """What to report of this beat: whether it could lead at once, and which schedule it has loaded, how large."""
        if self._details != (warm, schedule_version, entries):
            self._details = (warm, schedule_version, entries)
            self._due_at["report"] = 0.0
            self._poke()

    def wake(self, news: News) -> None:
        """Wake the loop from its wait; safe in a signal handler."""
        with self._changed:
            self._news.add(news)
            self._changed.notify_all()

    # --- asked by the loop ------------------------------------------------------------------------------------------

    @property
    def holds(self) -> bool:
        """Whether the lease was won and nobody said since that it is another's."""
        return self._holds

    def wait(self, timeout_s: float) -> frozenset[News]:
        """Sleep until there is news or ``timeout_s`` (>= 0) have passed; returns and forgets the news."""
        with self._changed:
            if not self._news:
                self._changed.wait(timeout_s)
            news = frozenset(self._news)
            self._news.clear()
            return news

    # --- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        backoff_s = BACKOFF_FIRST_S
        while not self._stopping:
            try:
                with Link(self._client, self._lease.channel) as link:
                    self._linked = True
                    if backoff_s > BACKOFF_FIRST_S:
                        log(Event.REDIS_FOUND, holder=self._who.holder)
                    backoff_s = BACKOFF_FIRST_S
                    self._due_at = dict.fromkeys(self._due_at, 0.0)
                    self._serve(link)
                return
            except Exception as exc:  # the thread must outlive whatever Redis or its client throws at it
                self._linked = False
                if backoff_s == BACKOFF_FIRST_S:
                    log(Event.REDIS_LOST, holder=self._who.holder, reason=str(exc))
                clock.sleep(backoff_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not secrecy
                backoff_s = min(2 * backoff_s, BACKOFF_MOST_S)

    def _serve(self, link: Link) -> None:
        lease = self._lease.over(link.commands)
        while not self._stopping:
            self._act(lease, link.client_id)
            message = link.wait(max(0.0, min(self._due_at.values()) - clock.monotonic_s()))
            if message is not None:
                self._hear(message)
        if self._may_hold:
            self._give_back(lease)
        lease.leave(self._who.holder)
        self._has_left = True

    def _hear(self, message: str) -> None:
        if message == SCHEDULE:
            self.wake(News.SCHEDULE)
            return
        if message.startswith(POKED) and message != f"{POKED}{self._who.holder}":
            return
        if message == SWITCHED:
            with self._changed:
                # Nobody stands until its loop has read which side is active now: the old side must not get in between.
                self._stands = self._holds
            self.wake(News.SWITCHED)
        self._rival = None
        self._due_at["evidence"] = 0.0

    def _act(self, lease: Lease, client_id: int) -> None:
        now = clock.monotonic_s()
        if self._holds and self._is_stalled(now):
            self._lose("its loop has not come back")
        if self._holds:
            self._due_at["evidence"] = self._vouched_at + self._ttl_s
            if now >= self._due_at["renew"]:
                self._renew(lease, client_id, now)
        else:
            self._due_at["renew"] = now + REPORT_EVERY_S
            if self._may_hold:
                self._give_back(lease)
        if now >= self._due_at["report"]:
            self._report(lease, client_id, now)
        if self._holds:
            return
        if not self._stands or self._is_stalled(now):
            self._due_at["evidence"] = now + REPORT_EVERY_S
        elif now >= self._due_at["evidence"]:
            self._try(lease, client_id, now)

    def _give_back(self, lease: Lease) -> None:
        if lease.release(self._who.holder):
            log(Event.LEASE_RELEASED, holder=self._who.holder, side=self._side)
        self._may_hold = False

    def _is_stalled(self, now: float) -> bool:
        """Whether the loop has not come back for one lease; told once."""
        age_s = now - self._vouched_at
        stalled = age_s >= self._ttl_s
        if stalled and not self._stalled:
            log(Event.BEAT_STALLED, holder=self._who.holder, elapsed_ms=int(1000 * age_s))
        self._stalled = stalled
        return stalled

    def _renew(self, lease: Lease, client_id: int, now: float) -> None:
        self._due_at["renew"] = now + self._renew_every_s
        outcome = lease.renew(self._who, self._side, client_id)
        if outcome is Renewal.LOST:
            self._lose("another holds it")
        else:
            event = Event.LEASE_RENEWED if outcome is Renewal.RENEWED else Event.LEASE_RESTORED
            log(event, holder=self._who.holder)

    def _report(self, lease: Lease, client_id: int, now: float) -> None:
        every_s = self._renew_every_s if self._holds else REPORT_EVERY_S
        self._due_at["report"] = now + every_s
        warm, version, entries = self._details
        details = Details(
            side=self._side,
            host=self._who.host,
            pid=self._who.pid,
            release=self._who.release,
            role="leader" if self._holds else "standby",
            warm=warm and not self._is_stalled(now),
            schedule_version=version,
            entries=entries,
            client_id=client_id,
        )
        view = lease.report(self._who, details, dt.timedelta(seconds=3 * every_s))
        if self._holds and view is not None and view.holder != self._who.holder:
            self._lose("another holds it")
        self._see(view, now)
        if view is None or view.side != self._side:
            self._due_at["evidence"] = now

    def _see(self, rival: LeaseView | None, now: float) -> None:
        self._rival = rival
        self._rival_until = now + rival.remaining.total_seconds() if rival else now

    def _try(self, lease: Lease, client_id: int, now: float) -> None:
        """Take the lease if it is free or has run out, or if its holder's connection is gone now as a moment ago."""
        rival = self._rival
        dead = None
        if rival is not None and rival.side == self._side and now < self._rival_until:
            if lease.is_connected(rival.client_id) is not False:
                self._missing = None
                self._due_at["evidence"] = min(now + EVIDENCE_EVERY_S, self._rival_until)
                return
            seen_missing, self._missing = self._missing, (rival.holder, rival.client_id)
            dead = rival.holder if seen_missing == self._missing else None
        self._may_hold = True
        rival = lease.acquire(self._who, self._side, client_id, dead)
        if rival is None:
            self._win(Event.LEASE_TAKEN_OVER if dead else Event.LEASE_ACQUIRED, now)
        else:
            self._may_hold = False
            self._see(rival, now)
            self._due_at["evidence"] = now + EVIDENCE_AGAIN_S

    def _win(self, event: Event, now: float) -> None:
        with self._changed:
            self._holds = self._stands
        self._missing = None
        self._see(None, now)
        self._due_at.update(report=0.0, renew=now + self._renew_every_s)
        log(event, holder=self._who.holder, side=self._side)
        self.wake(News.OFFICE)

    def _lose(self, reason: str) -> None:
        with self._changed:
            self._holds = False
        log(Event.LEASE_LOST, holder=self._who.holder, side=self._side, reason=reason)
        self.wake(News.OFFICE)

    def _poke(self) -> None:
        if self._linked and threading.current_thread() is not self._thread:
            try:
                self._lease.poke(self._who.holder)
            except LeaseUnavailable:
                self._linked = False  # the thread notices by itself, and looks again when it is back
