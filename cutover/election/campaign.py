"""One candidate's part in the election, as a value: what it is now, and what it does next.

Pure: every transition is a function of the present state, the present time and what has just been observed, and gives
the next state. It does NOT ask Redis and holds no lock; ``elector`` does both. Times are seconds on a monotonic clock.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from cutover.election.lease import LeaseView
from cutover.types import HolderId, Side

REPORT_EVERY_S: Final = 4.0
"""How often a standby reports. A leader reports whenever it renews."""
COUNTS_FOR: Final = 3
"""A report counts for so many times as long as it is until the next."""
PROBE_EVERY_S: Final = 0.6
"""How often a campaigning candidate asks whether the leader's connection lives.

With its reports a standby asks less than two commands a second.
"""
PROBE_AGAIN_S: Final = 0.1
"""A leader whose connection is gone is looked for once more after this time: it may only have reconnected.

It does so within half of that, and writes the new connection into the lease.
"""


class Role(StrEnum):
    """What a candidate is in the election."""

    STANDBY = "standby"
    """It does not ask for the lease."""
    CAMPAIGNING = "campaigning"
    """It acquires the lease as soon as that may be taken."""
    UNCERTAIN = "uncertain"
    """It has asked for the lease and not heard the answer: the lease may be its own, and is released first."""
    LEADING = "leading"
    """It acquired the lease, and has not heard since that another holds it."""
    STEPPING_DOWN = "stepping_down"
    """It leads no more, and has not released the lease yet."""


class Action(StrEnum):
    """What the elector does next."""

    RELEASE = "release"
    RENEW = "renew"
    REPORT = "report"
    ATTEMPT = "attempt"
    WAIT = "wait"


_CAMPAIGN: Final = {Role.STANDBY: Role.CAMPAIGNING, Role.STEPPING_DOWN: Role.UNCERTAIN}
_WITHDRAW: Final = {
    Role.CAMPAIGNING: Role.STANDBY,
    Role.UNCERTAIN: Role.STEPPING_DOWN,
    Role.LEADING: Role.STEPPING_DOWN,
}
_AFTER_RELEASE: Final = {Role.UNCERTAIN: Role.CAMPAIGNING, Role.STEPPING_DOWN: Role.STANDBY}


@dataclass(frozen=True, slots=True)
class Rival:
    """The leader of one's own side, as it was last seen: until when its lease runs, and whether it is missing."""

    holder: HolderId
    client_id: int
    until_s: float
    times_missing: int = 0
    """How many times in a row the server did not list its connection."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """The state of one candidate in the election.

    ``lease_s``: the lease's time; ``renew_every_s``: the time between renewals. ``*_at_s``: when the next report,
    renewal and attempt are due. ``is_stalled``: the loop that sends has given no heartbeat for a whole lease.
    """

    side: Side
    lease_s: float
    renew_every_s: float
    role: Role = Role.STANDBY
    rival: Rival | None = None
    report_at_s: float = 0.0
    renew_at_s: float = 0.0
    attempt_at_s: float = 0.0
    is_stalled: bool = False

    def action(self, now_s: float) -> Action:
        """What is to be done at ``now_s``, the most urgent first."""
        if self.role in _AFTER_RELEASE:
            return Action.RELEASE
        if self.role is Role.LEADING and now_s >= self.renew_at_s:
            return Action.RENEW
        if now_s >= self.report_at_s:
            return Action.REPORT
        if self.role is Role.CAMPAIGNING and not self.is_stalled and now_s >= self.attempt_at_s:
            return Action.ATTEMPT
        return Action.WAIT

    def wait_s(self, now_s: float, heartbeat_s: float) -> float:
        """For how long there is nothing to do, if nothing happens; the last heartbeat was at ``heartbeat_s``."""
        due = [self.report_at_s]
        if self.role is Role.LEADING:
            due += [self.renew_at_s, heartbeat_s + self.lease_s]
        elif self.role is Role.CAMPAIGNING and not self.is_stalled:
            due.append(self.attempt_at_s)
        return max(0.0, min(due) - now_s)

    def leads_elsewhere(self, now_s: float) -> bool:
        """Whether a rival's lease is still running, as far as is known."""
        return self.rival is not None and now_s < self.rival.until_s

    @property
    def dead_rival(self) -> tuple[HolderId, int] | None:
        """The rival whose connection was missing twice in a row, and that connection: its lease may be taken."""
        rival = self.rival
        return (rival.holder, rival.client_id) if rival is not None and rival.times_missing > 1 else None

    def campaign(self) -> Campaign:
        """The loop wants the lease."""
        role = _CAMPAIGN.get(self.role, self.role)
        return self if role is self.role else replace(self, role=role, report_at_s=0.0)

    def withdraw(self) -> Campaign:
        """The loop wants the lease no more, or may not have it."""
        role = _WITHDRAW.get(self.role, self.role)
        return self if role is self.role else replace(self, role=role, report_at_s=0.0)

    def check_heartbeat(self, now_s: float, heartbeat_s: float) -> Campaign:
        """Whether the loop is stalled, by its last heartbeat; a leader without one for a whole lease steps down."""
        stalled = now_s - heartbeat_s >= self.lease_s
        role = Role.STEPPING_DOWN if stalled and self.role is Role.LEADING else self.role
        after = replace(self, is_stalled=stalled, role=role)
        return after if stalled is self.is_stalled else after.changed()

    def changed(self) -> Campaign:
        """What is to be reported of this candidate is not what it was: it is reported at once."""
        return replace(self, report_at_s=0.0)

    def connected(self) -> Campaign:
        """On a new connection everything is due at once: nothing is known of what happened meanwhile."""
        return replace(self, report_at_s=0.0, renew_at_s=0.0, attempt_at_s=0.0)

    def asked(self) -> Campaign:
        """The lease is being asked for: until the answer is here, it may be one's own."""
        return replace(self, role=Role.UNCERTAIN) if self.role is Role.CAMPAIGNING else self

    def elected(self, now_s: float) -> Campaign:
        """The lease was acquired."""
        role = Role.LEADING if self.role is Role.UNCERTAIN else self.role  # else withdrawn meanwhile: to be released
        return replace(self, role=role, rival=None, report_at_s=0.0, renew_at_s=now_s + self.renew_every_s)

    def not_elected(self, holder: LeaseView, now_s: float) -> Campaign:
        """Another holds the lease."""
        role = _AFTER_RELEASE.get(self.role, self.role)
        return replace(self, role=role, attempt_at_s=now_s + PROBE_AGAIN_S)._seen(holder, now_s)

    def renewed(self, now_s: float) -> Campaign:
        """The lease was renewed, or put back where the server had lost it."""
        return replace(self, renew_at_s=now_s + self.renew_every_s)

    def lost(self) -> Campaign:
        """Another holds the lease that was one's own."""
        return replace(self, role=Role.STEPPING_DOWN) if self.role is Role.LEADING else self

    def released(self) -> Campaign:
        """The lease is one's own no more."""
        return replace(self, role=_AFTER_RELEASE.get(self.role, self.role))

    @property
    def report_every_s(self) -> float:
        """How long it is from one report to the next."""
        return self.renew_every_s if self.role is Role.LEADING else REPORT_EVERY_S

    def reporting(self, now_s: float) -> Campaign:
        """A report begins, of what is now: what changes before it is made is for the next one."""
        return replace(self, report_at_s=now_s + self.report_every_s)

    def reported(self, holder: LeaseView | None, own: HolderId, now_s: float) -> Campaign:
        """A report was made, which showed who holds the lease (None for nobody)."""
        after = self if holder is None or holder.holder == own else self.lost()
        free = holder is None or holder.side is not self.side
        return replace(after, attempt_at_s=now_s if free else after.attempt_at_s)._seen(holder, now_s)

    def rival_is_connected(self, now_s: float) -> Campaign:
        """The server lists the rival's connection, or does not say: it is not dead."""
        if self.rival is None:
            return self
        at_s = min(now_s + PROBE_EVERY_S, self.rival.until_s)
        return replace(self, rival=replace(self.rival, times_missing=0), attempt_at_s=at_s)

    def rival_is_missing(self) -> Campaign:
        """The server does not list the rival's connection."""
        if self.rival is None:
            return self
        return replace(self, rival=replace(self.rival, times_missing=self.rival.times_missing + 1))

    def woken(self) -> Campaign:
        """Somebody has released the lease, or wakes this candidate: it looks at once."""
        return replace(self, rival=None, attempt_at_s=0.0)

    def switched(self, *, to_own_side: bool) -> Campaign:
        """The active side is another: whose side it is now campaigns at once, and nobody else.

        Otherwise the old side's standby could take what the switch has just freed. A leader leads on: what is news to
        it the fence is to say.
        """
        roles = _CAMPAIGN if to_own_side else _WITHDRAW
        role = self.role if self.role is Role.LEADING else roles.get(self.role, self.role)
        return replace(self.woken(), role=role)

    def _seen(self, holder: LeaseView | None, now_s: float) -> Campaign:
        """With the rival as it is now; how often it was missing counts on while it is the same one."""
        if holder is None or holder.side is not self.side:
            return replace(self, rival=None)
        missing = 0
        if self.rival is not None and (self.rival.holder, self.rival.client_id) == (holder.holder, holder.client_id):
            missing = self.rival.times_missing
        until_s = now_s + holder.remaining / dt.timedelta(seconds=1)
        return replace(self, rival=Rival(holder.holder, holder.client_id, until_s, missing))
