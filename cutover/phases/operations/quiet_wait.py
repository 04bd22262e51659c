"""The wait for a quiet window: kept in a row, so that other commands may postpone it, hurry it or call it off.

Nothing else is held meanwhile: who types `phase3` without waiting, or `rollback`, need not wait for this one.
"""

import datetime as dt
from enum import StrEnum
from typing import Any, Final

from django.db.models import F

from cutover import clock
from cutover.errors import LedgerUnavailable, OperatorBusy, PhaseFailed
from cutover.ledger.database import outages
from cutover.ledger.pauses import paused_by
from cutover.models import QuietWait
from cutover.phases.context import Context
from cutover.phases.evidence import upcoming, waits_and_guards
from cutover.phases.evidence.quiet_windows import SwitchTime, switch_time
from cutover.phases.gates import quiet
from cutover.phases.operations import attended
from cutover.phases.operations.lock import operator_name
from cutover.phases.report import Check, command
from cutover.phases.wording import instant, one_line, span, to_the_second
from cutover.types import Side

NAME: Final = "quiet window"
LEAPT: Final = "leapt"
CALLED_OFF: Final = "called off"
POLL_S: Final = 1.0
"""How often the row is looked at for orders."""
TAKEN_WITHIN: Final = dt.timedelta(seconds=10)
"""For how long a command that gives an order waits for it to be taken."""
PLAN_EVERY: Final = dt.timedelta(minutes=1)
"""How often the windows are computed again, as long as the one that is waited for has not begun."""


class Order(StrEnum):
    """What another command may order."""

    POSTPONE = "postpone"
    NOW = "now"
    CALL_OFF = "call off"


class CalledOff(PhaseFailed):
    """Another command has called the wait off; nothing was changed."""


class NoWindow(PhaseFailed):
    """Nothing is quiet for long enough; nothing was changed."""


class Wait:
    """One wait, up to ``until``. ``takes``: how long the gates took, which are asked again before the switch."""

    def __init__(self, context: Context, row: QuietWait, takes: dt.timedelta) -> None:
        self._context = context
        self._row = row
        self._lead = 2 * takes + dt.timedelta(seconds=POLL_S)
        self._planned_at: dt.datetime | None = None
        self._planned: SwitchTime | None = None
        self.is_put_back = False
        """Whether another window is waited for since the gates were asked: then it waits again."""

    @property
    def window(self) -> SwitchTime | None:
        """When it switches, or has; None for at once, by order."""
        return self._planned

    def wait(self) -> None:
        """Return shortly before the instant, so that the gates can be asked. Raises CalledOff or NoWindow."""
        while not self._poll_patiently():
            clock.sleep(POLL_S)
        self.is_put_back = False

    def hold(self) -> Check:
        """The last gate, asked under the lock: wait for the very instant, and see that it is quiet then."""
        planned = self._planned
        while not self._poll(dt.timedelta(0)):
            if self._planned != planned:  # postponed; or the schedule has changed, and the window with it
                self.is_put_back = True
                return Check(NAME, False, "another one is waited for now")
            clock.sleep(min(POLL_S, 0.2))
        context, found = self._context, self._planned
        if found is None:
            return quiet.nothing_open(context, Side.CODE)
        latest = found.latest(context.config.takeover_timeout)
        left = latest - context.ledger.fence.read_now()
        check = quiet.nothing_open(context, Side.CODE, min(quiet.PATIENCE, max(left, dt.timedelta(0))))
        now = context.ledger.fence.read_now()
        again = f"type `{command('phase3')} --quiet` again"
        if now > latest:
            return Check(
                NAME,
                False,
                f"it is {to_the_second(now)}, too late for the window to {to_the_second(found.window[1])}",
                again,
            )
        paused = paused_by(context.ledger.pauses.read())
        slots = {
            name: at
            for name, at in upcoming.read(context, Side.CODE, now).next_slots().items()
            if at > now or not paused.holds(name)  # what a pause has kept back is no change of the schedule
        }
        if soon := [
            name for name, at in slots.items() if at < min(found.window[1], now + context.config.takeover_timeout)
        ]:
            return Check(
                NAME, False, f"the schedule has changed: {soon[0]} falls due at {instant(slots[soon[0]])}", again
            )
        return check

    def _poll_patiently(self) -> bool:
        """As ``_poll``, until the gates are to be asked; an outage of the database is waited out, and a window that has
        passed with it.
        """
        try:
            found, now = self._planned, self._context.ledger.fence.read_now()
            if found is not None and now > found.latest(self._context.config.takeover_timeout):
                self._planned = None
            return self._poll(self._lead)
        except LedgerUnavailable as exc:
            self._context.progress(f"the wait goes on: {one_line(exc)}")
            return False

    def _poll(self, before: dt.timedelta) -> bool:
        """Take what was ordered, plan where that is due, show it; True once the instant less ``before`` has come."""
        context, now = self._context, self._context.ledger.fence.read_now()
        self._take_orders(now)
        if self._row.order == Order.NOW:
            self._planned = None
            return True
        found = self._planned
        if found is None or (now < found.window[0] and self._planned_at and now - self._planned_at > PLAN_EVERY):
            found = self._plan(now)
        begin, end = found.window
        what = f"the switch waits for {to_the_second(found.at)}, in the quiet window to {to_the_second(end)}"
        context.live(f"{what} ({span(end - begin)})", max(dt.timedelta(0), found.at - now))
        return now >= found.at - before

    def _plan(self, now: dt.datetime) -> SwitchTime:
        since, until = max(now, self._row.not_before or now), self._row.until
        if (found := window(self._context, since, until)) is None:
            why = f"No window between {to_the_second(since)} and {to_the_second(until)} is quiet for a minute."
            attended.end(self._context, self._row, "no window")
            raise NoWindow(f"{why} Nothing was changed: --by a later time, or `{command('phase3')}` without --quiet.")
        self._planned_at, self._planned = now, found
        begin, end = found.window
        attended.change(self._context, self._row, leaps_at=found.at, window_from=begin, window_to=end)
        return found

    def _take_orders(self, now: dt.datetime) -> None:
        context, before = self._context, self._row.answered
        with outages(context.alias):
            self._row.refresh_from_db()
        if self._row.ended_at is not None:
            raise CalledOff("The wait was ended by another command. Nothing was changed.")
        if self._row.asked == before:
            return
        who = self._row.ordered_by
        if self._row.order == Order.CALL_OFF:
            attended.end(context, self._row, CALLED_OFF, who)
            raise CalledOff(f"Called off by {who}. Nothing was changed.")
        if self._row.order == Order.POSTPONE:
            context.progress(f"postponed by {who}: not before {to_the_second(self._row.not_before or now)}")
            self._plan(now)
        else:
            context.progress(f"hurried by {who}")
        attended.change(context, self._row, answered=self._row.asked)


def window(context: Context, since: dt.datetime, until: dt.datetime) -> SwitchTime | None:
    """The longest quiet window of the code side in between, and when to switch in it; None where there is none."""
    if since >= until:
        return None
    return switch_time(upcoming.read(context, Side.CODE, context.ledger.fence.now()).quiet(since, until), since)


def ordered(context: Context, wait: QuietWait, order: Order, not_before: dt.datetime | None = None) -> QuietWait:
    """Give the command that waits an order, and let it take that; the row as it is then.

    The latest order counts; but once it is called off no other one is in time. ``not_before``: postpone it until then,
    an instant and no length, so that the order may be given again.
    """
    given: dict[str, Any] = {"order": order, "not_before": not_before or wait.not_before}
    with outages(context.alias):
        rows = QuietWait.objects.using(context.alias).filter(pk=wait.pk)
        open_ = rows.filter(ended_at=None).exclude(order=Order.CALL_OFF)
        open_.update(**given, ordered_by=operator_name(), asked=F("asked") + 1)

    def taken() -> QuietWait | None:
        with outages(context.alias):
            row = rows.get()
        return row if row.ended_at is not None or row.answered >= row.asked else None

    if (found := context.wait_for(taken, TAKEN_WITHIN, "the order to be taken", every_s=0.1)) is not None:
        return found
    with outages(context.alias):
        return rows.get()


def begin(context: Context, until: dt.datetime, takes: dt.timedelta) -> tuple[QuietWait, Wait]:
    """Begin to wait. Raises OperatorBusy while another command does."""
    refuse_a_second(context)
    row = attended.begin(context, QuietWait, until=until)
    return row, Wait(context, row, takes)


def latest(context: Context) -> QuietWait | None:
    """The latest wait, whether it has ended or not; None for none."""
    with outages(context.alias):
        return QuietWait.objects.using(context.alias).order_by("-pk").first()


def refuse_a_second(context: Context) -> None:
    """Raise OperatorBusy while a command waits already."""
    if (other := waits_and_guards.waiting(context)) is not None:
        ways = f"`{command('phase3')} --call-off` ends that, --now hurries it"
        raise OperatorBusy(f"{other.operator} waits for a quiet window already: {ways}.")
