"""The elector: a thread that keeps one candidate in the election, whatever the loop that sends is doing.

It renews on time, and wakes the loop when leadership is won or lost. It does NOT decide what may be sent: a loop that
still believes to lead is refused by the ledger's fence. What to do next is ``campaign``'s to say; here it is done. Only
this thread writes the lease, so that releasing and renewing it cannot cross.
"""

import datetime as dt
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import celery
import redis

from cutover.backoff import Backoff
from cutover.clock import SYSTEM, Clock
from cutover.election.campaign import COUNTS_FOR, Action, Campaign, Role
from cutover.election.connection import Link
from cutover.election.lease import POKED, SCHEDULE, SWITCHED, Details, Lease, Renewal
from cutover.errors import LeaseUnavailable
from cutover.events import Event, log
from cutover.types import Identity, Side

RECONNECT: Final = Backoff(first_s=0.05, most_s=2.0)
JOIN_S: Final = 3.0
"""How long ``stop`` waits for the thread: longer than one unanswered question."""


class News(StrEnum):
    """Why the loop was woken."""

    ELECTION = "election"
    SWITCHED = "switched"
    SCHEDULE = "schedule"
    SIGNAL = "signal"


class _Connection(StrEnum):
    """Where the thread stands towards Redis."""

    DOWN = "down"
    UP = "up"
    LEFT = "left"
    """It has released the lease and taken back its report: nothing of it is left on the server."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a beat says of itself: whether it could lead at once, and which schedule it has loaded, how large."""

    warm: bool = False
    schedule_version: str = ""
    entries: int = 0


class Elector:
    """One candidate's part in the election. All methods but ``start`` and ``stop`` may be called at any time.

    ``ttl``: the lease's time; ``renew_every``: the time between renewals.
    """

    def __init__(
        self,
        client: redis.Redis,
        lease: Lease,
        who: Identity,
        side: Side,
        ttl: dt.timedelta,
        renew_every: dt.timedelta,
        time: Clock = SYSTEM,
    ) -> None:
        self._client, self._lease = client, lease
        self._who, self._time = who, time
        self._thread = threading.Thread(target=self._run, name="cutover-elector", daemon=True)
        self._changed = threading.Condition(threading.RLock())  # re-entrant: a signal handler may interrupt its owner
        # What changes:
        self._campaign = Campaign(side, ttl.total_seconds(), renew_every.total_seconds())
        self._connection = _Connection.DOWN
        self._description = Description()
        self._heartbeat_s = time.monotonic_s()
        self._news: set[News] = set()
        self._is_stopping = False

    def start(self) -> None:
        """Enter the election; once."""
        self._thread.start()

    def stop(self) -> None:
        """Release the lease and leave the election; returns when that is done or Redis did not answer in time."""
        with self._changed:
            self._is_stopping = True
        self._poke()
        if self._thread.is_alive():
            self._thread.join(JOIN_S)
        if self._connection is not _Connection.LEFT and not self._thread.is_alive():
            # Its connection was cut as it ended: what it could not take back is taken back by another one.
            with suppress(LeaseUnavailable):
                self._lease.release(self._who.holder)
                self._lease.leave(self._who.holder)

    def campaign(self) -> None:
        """Say that this candidate wants the lease."""
        self._decide(Campaign.campaign)

    def withdraw(self) -> None:
        """Say that this candidate does not want the lease; one that it holds is released."""
        self._decide(Campaign.withdraw)

    def heartbeat(self) -> None:
        """Say that the loop is alive; to be called at every turn of it, and within long ones."""
        self._heartbeat_s = now_s = self._time.monotonic_s()
        if self._campaign.is_stalled:  # else the thread hears of it when it wakes by itself
            self._decide(lambda campaign: campaign.check_heartbeat(now_s, now_s))

    def describe(self, description: Description) -> None:
        """What to report of this beat."""
        if self._description != description:
            self._description = description
            self._decide(Campaign.changed)

    def wake(self, news: News) -> None:
        """Wake the loop from its wait; safe in a signal handler."""
        with self._changed:
            self._news.add(news)
            self._changed.notify_all()

    @property
    def is_leading(self) -> bool:
        """Whether the lease was acquired, and nobody said since that another holds it."""
        return self._campaign.role is Role.LEADING

    def wait(self, timeout_s: float) -> frozenset[News]:
        """Sleep until there is news or ``timeout_s`` (>= 0) have passed; returns and forgets the news."""
        with self._changed:
            if not self._news:
                self._changed.wait(timeout_s)
            news = frozenset(self._news)
            self._news.clear()
            return news

    def _run(self) -> None:
        backoff = RECONNECT
        while not self._is_stopping:
            try:
                with closing(Link(self._client, self._lease.channel)) as link:
                    self._connection = _Connection.UP
                    self._take(Campaign.connected)
                    self._act(self._lease.over(link.commands), link)
                    if backoff.failures:  # not before: one that is full takes connections, and nothing else
                        log(Event.REDIS_FOUND, holder=self._who.holder)
                    backoff = backoff.succeeded()
                    self._serve(link)
                return
            except Exception as exc:  # the thread must outlive whatever Redis or its client throws at it
                self._connection = _Connection.DOWN
                if not backoff.failures:
                    log(Event.REDIS_LOST, holder=self._who.holder, reason=str(exc))
                backoff = backoff.failed()
                self._time.sleep(backoff.wait_s(self._time.jitter()))

    def _serve(self, link: Link) -> None:
        lease = self._lease.over(link.commands)
        while not self._is_stopping:
            self._act(lease, link)
            message = link.wait(self._campaign.wait_s(self._time.monotonic_s(), self._heartbeat_s))
            if message is not None:
                self._hear(message, lease, link)
        self._take(Campaign.withdraw)
        if self._campaign.role is Role.STEPPING_DOWN:
            self._release(lease)
        lease.leave(self._who.holder)
        self._connection = _Connection.LEFT

    def _hear(self, message: str, lease: Lease, link: Link) -> None:
        if message == SCHEDULE:
            self.wake(News.SCHEDULE)
        elif message.startswith(SWITCHED):
            to_own_side = message == f"{SWITCHED}{self._campaign.side}" and self._description.warm
            self._take(lambda campaign: campaign.switched(to_own_side=to_own_side))
            self._act(lease, link)
            if not (to_own_side and self.is_leading):  # who is elected by it opens its term, and has no time for a poll
                self.wake(News.SWITCHED)
        elif not message.startswith(POKED) or message == f"{POKED}{self._who.holder}":
            self._take(Campaign.woken)

    def _next_action(self) -> Action:
        now_s = self._time.monotonic_s()
        before, after = self._take(lambda campaign: campaign.check_heartbeat(now_s, self._heartbeat_s))
        if after.is_stalled and not before.is_stalled:
            log(Event.BEAT_STALLED, holder=self._who.holder, elapsed_ms=int(1000 * (now_s - self._heartbeat_s)))
        if before.role is Role.LEADING and after.role is not Role.LEADING:
            self._log_lost("its loop has given no heartbeat for a whole lease")
        return after.action(now_s)

    def _act(self, lease: Lease, link: Link) -> None:
        """Do all that is to be done now."""
        while (action := self._next_action()) is not Action.WAIT:
            match action:
                case Action.RELEASE:
                    self._release(lease)
                case Action.RENEW:
                    self._renew(lease, link)
                case Action.REPORT:
                    self._report(lease, link)
                case Action.ATTEMPT:
                    self._attempt(lease, link)

    def _release(self, lease: Lease) -> None:
        if lease.release(self._who.holder):
            log(Event.LEASE_RELEASED, holder=self._who.holder, side=self._campaign.side)
        self._take(Campaign.released)

    def _renew(self, lease: Lease, link: Link) -> None:
        outcome = lease.renew(self._who, self._campaign.side, link.client_id)
        if outcome is Renewal.LOST:
            self._take(Campaign.lost)
            self._log_lost("another holds it")
            return
        now_s = self._time.monotonic_s()
        self._take(lambda campaign: campaign.renewed(now_s))
        log(Event.LEASE_RENEWED if outcome is Renewal.RENEWED else Event.LEASE_RESTORED, holder=self._who.holder)

    def _report(self, lease: Lease, link: Link) -> None:
        began_s = self._time.monotonic_s()
        _, campaign = self._take(lambda campaign: campaign.reporting(began_s))
        description = self._description  # after that: what is said in between is reported twice, not never
        details = Details(
            side=campaign.side,
            host=self._who.host,
            pid=self._who.pid,
            release=self._who.release,
            role="leader" if campaign.role is Role.LEADING else "standby",
            warm=description.warm and not campaign.is_stalled,
            schedule_version=description.schedule_version,
            entries=description.entries,
            client_id=link.client_id,
            celery=celery.__version__,
        )
        if campaign.role is not Role.CAMPAIGNING:  # which asks with each look for its rival
            link.check(lease.listed(link.client_id))
        view = lease.report(self._who, details, dt.timedelta(seconds=COUNTS_FOR * campaign.report_every_s))
        now_s = self._time.monotonic_s()
        before, after = self._take(lambda campaign: campaign.reported(view, self._who.holder, now_s))
        if before.role is Role.LEADING and after.role is not Role.LEADING:
            self._log_lost("another holds it")

    def _attempt(self, lease: Lease, link: Link) -> None:
        """Acquire the lease if it is free or has run out, or if its holder is missing for the second time in a row."""
        now_s, rival = self._time.monotonic_s(), self._campaign.rival
        if rival is not None and self._campaign.leads_elsewhere(now_s):
            link.check(listed := lease.listed(rival.client_id, link.client_id))
            if listed is None or rival.client_id in listed:
                self._take(lambda campaign: campaign.rival_is_connected(now_s))
                return
            self._take(Campaign.rival_is_missing)
        dead = self._campaign.dead_rival
        _, asked = self._take(Campaign.asked)
        if asked.role is not Role.UNCERTAIN:
            return  # withdrawn in between
        holder = lease.acquire(self._who, asked.side, link.client_id, dead)
        now_s = self._time.monotonic_s()
        if holder is not None:
            self._take(lambda campaign: campaign.not_elected(holder, now_s))
            return
        with self._changed:  # one step: a loop whose wait ends just now sees that it leads with the news, not before
            self._take(lambda campaign: campaign.elected(now_s))
            self.wake(News.ELECTION)
        event = Event.LEASE_TAKEN_OVER if dead else Event.LEASE_ACQUIRED
        log(event, holder=self._who.holder, side=asked.side)

    def _log_lost(self, reason: str) -> None:
        log(Event.LEASE_LOST, holder=self._who.holder, side=self._campaign.side, reason=reason)
        self.wake(News.ELECTION)

    def _decide(self, transition: Callable[[Campaign], Campaign]) -> None:
        """A transition by the loop; the thread is woken if it changes anything."""
        before, after = self._take(transition)
        if before is not after:
            self._poke()

    def _take(self, transition: Callable[[Campaign], Campaign]) -> tuple[Campaign, Campaign]:
        """Take one transition; the state before and after it. The loop and the thread both take some."""
        with self._changed:
            before = self._campaign
            self._campaign = transition(before)
            return before, self._campaign

    def _poke(self) -> None:
        if self._connection is _Connection.UP:
            with suppress(LeaseUnavailable):  # then the thread acts when it wakes by itself
                self._lease.poke(self._who.holder)
