"""Commands that stay: one waits for a quiet window, one watches a switch; and what holds where one is gone."""

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

from cutover.ledger.database import outages
from cutover.models import Attended, QuietWait, SwitchGuard
from cutover.phases.context import Context
from cutover.phases.facts import State
from cutover.phases.report import command, plain
from cutover.phases.wording import to_the_second
from cutover.workers import processes

STALE_AFTER: Final = dt.timedelta(seconds=15)
"""Whoever has not renewed its row for so long, by the database's clock, is gone."""
_WAIT: Final = "operator began_at until leaps_at window_from window_to"
_GUARD: Final = "operator began_at until ended_at"
WATCHING: Final = "watching"
KILLED: Final = "killed"
INTERRUPTED: Final = "interrupted"


@dataclass(frozen=True, slots=True)
class WaitAndGuard:
    """The wait that is under way, None for none; and the latest guard of the present or latest switch, and how it is.

    ``guarding``: the guard's outcome, or that it watches, or was killed.
    """

    wait: QuietWait | None
    guard: SwitchGuard | None
    guarding: str

    def data(self, state: State) -> dict[str, Any]:
        """For a program."""
        data: dict[str, Any] = {"quiet_wait": None, "guard": None}
        if self.wait is not None:
            data["quiet_wait"] = {**plain(self.wait, _WAIT), "said": wait_in_words(self.wait)}
        if self.guard is not None:
            told = {"outcome": self.guarding, "reason": self.guard.detail, "said": guard_in_words(self, state)}
            data["guard"] = {**plain(self.guard, _GUARD), **told}
        return data


def is_there(row: Attended, now: dt.datetime) -> bool:
    """Whether the command still stays; one of another host that was killed counts as there for a while."""
    return row.ended_at is None and abs(now - row.seen_at) <= STALE_AFTER and not processes.has_ended(row.process)


def waiting(context: Context) -> QuietWait | None:
    """The phase 3 that waits for a quiet window; None for none. Raises LedgerUnavailable."""
    now = context.ledger.fence.read_now()
    with outages(context.alias):
        open_ = list(QuietWait.objects.using(context.alias).filter(ended_at=None).order_by("-pk"))
    return next((row for row in open_ if is_there(row, now)), None)


def read(context: Context, state: State) -> WaitAndGuard:
    """Who stays, as of ``state``. Raises LedgerUnavailable."""
    wait = waiting(context)
    with outages(context.alias):
        guard = SwitchGuard.objects.using(context.alias).order_by("-pk").first()
    if guard is None or state.switched_at is None or guard.began_at < state.switched_at:
        return WaitAndGuard(wait, None, "")
    is_on = is_there(guard, context.ledger.fence.now())
    return WaitAndGuard(wait, guard, guard.outcome or (WATCHING if is_on else KILLED))


def wait_in_words(wait: QuietWait) -> str:
    """Who waits until when, and what to type."""
    when = f", to switch at {to_the_second(wait.leaps_at)}" if wait.leaps_at else ""
    return f"{wait.operator} waits for a quiet window{when}: {command('phase3')} --postpone TIME, --now or --call-off"


def guard_in_words(standing: WaitAndGuard, state: State) -> str:
    """How the guard is, or what has become of it; what holds where it is gone, and what to type. Empty for none."""
    if (guard := standing.guard) is None:
        return ""
    who, found = f"the guard of {guard.operator}", f", having found: {guard.detail}" if guard.detail else ""
    if standing.guarding == WATCHING:
        return f"{who} watches the switch until {to_the_second(guard.until)}{found}"
    if standing.guarding not in (KILLED, INTERRUPTED):
        return f"{who}: {standing.guarding}" + (f", for {guard.detail}" if guard.detail else "")
    if not state.is_switched:
        return f"{who} was {standing.guarding}{found}. {state.in_words()}"
    ways = f"{command('phase3')} --guard TIME watches it again, {command('rollback')} goes back"
    return f"{who} was {standing.guarding}{found}: the switch holds, and nothing watches it. {ways}"
