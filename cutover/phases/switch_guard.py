"""The watch over a switch: what the ledger shows since then, and the way back where that is not well."""

import datetime as dt
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from cutover import clock
from cutover.errors import CutoverError, LedgerUnavailable, NobodyLed
from cutover.ledger.database import outages
from cutover.models import SwitchGuard
from cutover.phases import rollback
from cutover.phases.context import Context
from cutover.phases.evidence import since_switch
from cutover.phases.evidence.judging import PATIENCE
from cutover.phases.evidence.since_switch import GRACE, LEAST_SLOTS, SinceSwitch
from cutover.phases.evidence.tally import Counting
from cutover.phases.facts import State, read
from cutover.phases.gates import beats
from cutover.phases.operations import alarm, attended
from cutover.phases.report import Outcome, Report, command
from cutover.phases.wording import one_line, span, to_the_second
from cutover.plural import counted
from cutover.types import Side

FAILURES: Final = 3
"""How many runs may fail in a watch, unless the operator says otherwise."""
LOOK_EVERY_S: Final = 1.0
TRY_EVERY_S: Final = 2.0
"""After how long a rollback that was refused is tried again."""
_SEEN: Final = "proven pending unread failed_runs"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a watch came to: ``outcome`` for the row, and what it means for the command."""

    outcome: str
    ends: Outcome
    reason: str = ""


HELD: Final = "held"
INCONCLUSIVE: Final = "inconclusive"
OVERTAKEN: Final = "overtaken"
ROLLED_BACK: Final = "rolled back"
NOT_ROLLED_BACK: Final = "not rolled back"


def watch(context: Context, done: Report, length: dt.timedelta, raises: list[str], failures: int) -> Report:
    """Watch the switch that ``done`` tells of, or an earlier one, for ``length``, and roll back once it is not well.

    Not well is: a slot that is missed, doubled or not run, a leader without a sign of life, more than ``failures``
    failed runs, or an alarm of the command ``raises`` (empty for none). The outcome is done when all was
    well, failed when it was not, and inconclusive when too little was seen.
    """
    state, now = read(context), context.ledger.fence.now()
    row = _posted(context, state) if done.outcome is Outcome.DONE else None
    row = row or attended.post_guard(context, length)
    attended.change(context, row, until=now + length, seen_at=now)
    context.progress(f"watching the switch until {to_the_second(row.until)}")
    with attended.attended(context, row):
        watching = _Watch(context, row, state, raises, failures)
        verdict = watching.verdict()
        if verdict.outcome == ROLLED_BACK:
            verdict, done = _roll_back(context, row, verdict, done)
        attended.end(context, row, verdict.outcome, verdict.reason)
    return _report(context, done, watching.seen, verdict, length)


def _posted(context: Context, state: State) -> SwitchGuard | None:
    """The row that the switch itself has made, with its last step but one."""
    with outages(context.alias):
        rows = SwitchGuard.objects.using(context.alias).filter(switch_epoch=state.switch_epoch or 0, ended_at=None)
        return rows.order_by("-pk").first()


class _Watch:
    """One watch, look by look."""

    def __init__(self, context: Context, row: SwitchGuard, state: State, raises: list[str], failures: int) -> None:
        self._context = context
        self._row = row
        self._epoch = state.switch_epoch
        self._since = state.switched_at or row.began_at
        self._alarm = raises
        self._failures = failures
        self._counting = Counting()
        self._alarm_at = row.began_at
        self.seen: SinceSwitch | None = None
        """What the last look has found; None where the last one, or every one, could not be taken."""

    def verdict(self) -> Verdict:
        """Look again and again until there is one. Reads and changes nothing."""
        while True:
            began_s = clock.monotonic_s()
            now = self._context.ledger.fence.now()
            try:
                found = self._look(now := self._context.ledger.fence.read_now())
            except LedgerUnavailable as exc:
                self.seen, found = None, None
                self._context.progress(f"the watch sees nothing: {one_line(exc)}")
            if found is None and now >= self._row.until + GRACE + PATIENCE:
                found = self._at_the_end()
            if found is not None:
                return found
            # No more than a fifth of the time goes into looking, however large the ledger is.
            clock.sleep(max(LOOK_EVERY_S, 4 * (clock.monotonic_s() - began_s)))

    def _look(self, now: dt.datetime) -> Verdict | None:
        context, until = self._context, self._row.until
        state = read(context)
        if state.side is not Side.DATABASE or state.switch_epoch != self._epoch:
            return Verdict(OVERTAKEN, Outcome.FAILED, "another command has switched meanwhile")
        judged = min(now - GRACE, until)
        if judged > self._since:
            self.seen = since_switch.look(context, self._since, judged, self._failures, self._counting)
        wrong = self.seen.wrong if self.seen is not None else ""
        if not wrong and self._alarm and now >= self._alarm_at and now < until:
            wrong = alarm.raised_by(self._alarm)
            self._alarm_at = context.ledger.fence.now() + alarm.COMMAND_EVERY
        if wrong:
            return Verdict(ROLLED_BACK, Outcome.FAILED, wrong)
        if now >= until + GRACE and self.seen is not None and not self.seen.pending:
            return self._at_the_end()
        proven = self.seen.proven if self.seen is not None else 0
        context.live(
            f"watching the switch: {counted(proven, 'slot')} proven, nothing is wrong",
            max(dt.timedelta(0), until - now),
        )
        return None

    def _at_the_end(self) -> Verdict:
        seen = self.seen
        if seen is None:
            return Verdict(INCONCLUSIVE, Outcome.INCONCLUSIVE, "the ledger could not be read")
        if not (alone := beats.no_unmanaged_beat(self._context)).ok:
            return Verdict(
                INCONCLUSIVE, Outcome.INCONCLUSIVE, f"a beat without the lease may send besides: {alone.detail}"
            )
        if seen.unread:
            return Verdict(
                INCONCLUSIVE,
                Outcome.INCONCLUSIVE,
                f"{counted(seen.unread, 'row has', 'rows have')} not been read by the leader yet",
            )
        if seen.pending:
            so = "under way still, or paused" if self._context.ledger.pauses.read() else "under way still"
            return Verdict(INCONCLUSIVE, Outcome.INCONCLUSIVE, f"{counted(seen.pending, 'slot is', 'slots are')} {so}")
        if seen.proven < LEAST_SLOTS:
            few = f"{counted(seen.proven, 'slot is', 'slots are')} proven, where {LEAST_SLOTS} are little enough"
            return Verdict(INCONCLUSIVE, Outcome.INCONCLUSIVE, few)
        return Verdict(HELD, Outcome.DONE)


def _roll_back(context: Context, row: SwitchGuard, verdict: Verdict, done: Report) -> tuple[Verdict, Report]:
    """Roll back, by the command's own code; tried again while another command, a gate or an outage is in the way."""
    with suppress(LedgerUnavailable):  # before anything is done: what holds if this is killed
        attended.change(context, row, detail=verdict.reason)
    context.progress(f"rolling back, for {verdict.reason}")
    until, failed = max(row.until, context.ledger.fence.now()) + PATIENCE, ""
    while True:
        try:
            report = rollback.run(context, because=verdict.reason)
            if report.outcome in (Outcome.DONE, Outcome.ALREADY):
                return verdict, replace(report, data={**done.data, **report.data})
            failed = "; ".join(f"{check.name}: {check.detail}" for check in report.checks if not check.ok)
        except NobodyLed as exc:  # of the code side: it was switched back, and the rows send
            failed = one_line(exc)
            break
        except CutoverError as exc:
            failed = one_line(exc)
        if context.ledger.fence.now() >= until:
            break
        context.progress(f"the rollback is tried again: {failed}")
        clock.sleep(TRY_EVERY_S)
    return replace(verdict, outcome=NOT_ROLLED_BACK, reason=f"{verdict.reason}; the rollback failed: {failed}"), done


def _report(context: Context, done: Report, seen: SinceSwitch | None, verdict: Verdict, length: dt.timedelta) -> Report:
    numbers = {name: getattr(seen, name) if seen is not None else None for name in _SEEN.split()}
    data: dict[str, Any] = {**done.data, "guard": {"outcome": verdict.outcome, "reason": verdict.reason, **numbers}}
    proven = seen.proven if seen is not None else 0
    stands = read(context).in_words() if verdict.outcome == OVERTAKEN else ""
    line, following, undo = {
        HELD: (
            f"The guard has watched for {span(length)}: {counted(proven, 'slot')} proven, nothing was wrong.",
            "phase4",
            "rollback",
        ),
        INCONCLUSIVE: (f"Inconclusive: {verdict.reason}. The switch holds; phase4 proves it.", "phase4", "rollback"),
        OVERTAKEN: (f"The guard has ended: {verdict.reason}. {stands}", "status", ""),
        ROLLED_BACK: (f"The guard has rolled back, for {verdict.reason}.", "status", "phase3"),
        NOT_ROLLED_BACK: (f"The guard wanted to roll back and could not: {verdict.reason}.", "rollback", ""),
    }[verdict.outcome]
    typed = command(undo) if undo else ""
    lines = [*done.lines, line]
    return Report("phase3", verdict.ends, done.checks, lines, command(following), typed, data)
