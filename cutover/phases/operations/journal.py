"""The journal: which step of which phase was begun, and how it ended."""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

from django.db import DataError, IntegrityError

from cutover import clock, signals
from cutover.errors import CutoverError, EntryRefused, LeaseUnavailable, LedgerUnavailable, OperatorBusy, PhaseFailed
from cutover.events import Event, log
from cutover.foreign import text_of
from cutover.ledger.database import outages, transaction
from cutover.models import FINISH, Cutover, Transition
from cutover.phases.operations.lock import held, operator_name, require_free
from cutover.phases.report import Check, Report, Step, refused
from cutover.phases.wording import one_line

_T = TypeVar("_T")


class Journal:
    """One command's record, for as long as it holds the cutover. Made by ``at_work``."""

    def __init__(self, alias: str, check: Callable[[], None]) -> None:
        self._alias = alias
        self._check = check
        self.operator = operator_name()
        self.begun = False

    def take(self, phase: str, name: str, act: Callable[[], _T], does: str, *, in_commit: bool = False) -> _T | None:
        """Take a step and return what ``act`` does; in a dry run it is noted, and None returned.

        ``does``: the step in words; ``in_commit``: take it in one commit. Raises what ``act`` raises, and OperatorBusy
        when another operator has taken over.
        """
        with self.step(phase, name):
            if not in_commit:
                return act()
            with self.commit():
                return act()

    @contextmanager
    def step(self, phase: str, name: str) -> Iterator[None]:
        """Record a step, then its outcome: done, failed or refused. Raises OperatorBusy when another has taken over."""
        self._check()
        self.begun = True
        row = self._record(phase, name, begun_at=clock.now())
        try:
            yield
        except BaseException as exc:  # also for Ctrl-C: an operator's next command must find what was begun
            outcome = "refused" if isinstance(exc, EntryRefused) else "failed"
            detail = str(exc) if isinstance(exc, CutoverError) else f"{type(exc).__name__} {text_of(exc)}".strip()
            with suppress(LedgerUnavailable):  # then the step stays "begun"; what ended it is raised
                self._end(row, outcome, detail)
            raise
        self._end(row, "done", "")

    @contextmanager
    def commit(self) -> Iterator[None]:
        """One transaction that is written only while this command holds the cutover, however long it was frozen.

        Raises OperatorBusy when another operator has taken over.
        """
        with transaction(self._alias):
            self._check()
            yield

    def note(self, phase: str, step: str, detail: str) -> None:
        """Record what an operator has said, as a step that is done with that."""
        now = clock.now()
        self._record(phase, step, outcome="done", detail=detail, begun_at=now, ended_at=now)

    def finish(self, phase: str, number: int) -> None:
        """Record that the cutover has come to ``number``: the last step of every phase, in one commit."""
        now = clock.now()
        with self.commit():
            self._record(phase, FINISH, outcome="done", begun_at=now, ended_at=now)
            Cutover.objects.using(self._alias).filter(id=1).update(phase=number)
        log(Event.PHASE_COMPLETED, phase=phase)
        signals.send_in_background(signals.phase_changed, phase=phase, number=number, operator=self.operator)

    def refused(self, phase: str, checks: Sequence[Check], lines: Sequence[str] = (), next_command: str = "") -> Report:
        """Record that a phase's gates did not hold; returns the report of it."""
        # The names alone: what was found may hold a task's arguments, which no log is to have.
        self.not_done(phase, "; ".join(check.name for check in checks if not check.ok))
        return refused(phase, checks, lines, next_command)

    def not_done(self, phase: str, detail: str) -> None:
        """Record why a phase that has changed nothing is not done."""
        log(Event.PHASE_REFUSED, phase=phase, reason=detail)
        now = clock.now()
        self._record(phase, "gates", outcome="refused", detail=detail, begun_at=now, ended_at=now)

    def _record(self, phase: str, step: str, **details: object) -> Transition:
        steps = Transition.objects.using(self._alias)
        with outages(self._alias):
            return steps.create(phase=phase, step=step, operator=self.operator, **details)

    def _end(self, row: Transition, outcome: str, detail: str) -> None:
        with outages(self._alias):
            step = Transition.objects.using(self._alias).filter(pk=row.pk)
            step.update(outcome=outcome, detail=detail, ended_at=clock.now())


class DryRun(Journal):
    """What a command would record, step for step, in a dry run: nothing is taken, written or held."""

    def __init__(self, alias: str) -> None:
        super().__init__(alias, check=lambda: None)
        self.steps: list[Step] = []

    def take(self, phase: str, name: str, act: Callable[[], _T], does: str, *, in_commit: bool = False) -> _T | None:
        """Note the step."""
        self.steps.append(Step(name, does))
        return None

    def note(self, phase: str, step: str, detail: str) -> None:
        """Note the step."""
        self.steps.append(Step(step, detail))

    def finish(self, phase: str, number: int) -> None:
        """Note the last step."""
        self.steps.append(Step(FINISH, f"record that the cutover has come to phase {number}"))

    def not_done(self, phase: str, detail: str) -> None:
        """Note nothing: the report says so."""


@contextmanager
def at_work(alias: str, command: str, *, dry_run: bool = False) -> Iterator[Journal]:
    """Hold the cutover for one command; with ``dry_run`` hold nothing, and give a ``DryRun``.

    Raises OperatorBusy, naming who else holds it. After the first step was begun an outage, a lock that was taken over
    and a row that the database refuses become PhaseFailed.
    """
    if dry_run:
        require_free(alias)
        yield DryRun(alias)
        return
    with held(alias, command) as check:
        journal = Journal(alias, check)
        log(Event.PHASE_STARTED, phase=command)
        try:
            yield journal
        except (PhaseFailed, OperatorBusy, LeaseUnavailable, LedgerUnavailable) as exc:
            log(Event.PHASE_FAILED, phase=command, reason=str(exc))
            if isinstance(exc, PhaseFailed) or not journal.begun:
                raise
            raise PhaseFailed(f"{exc} This happened on the way: run {command} again once that is fixed.") from exc
        except (IntegrityError, DataError) as exc:
            log(Event.PHASE_FAILED, phase=command, reason=str(exc))
            changed = "Somebody has changed the same rows meanwhile"
            raise PhaseFailed(f"The database refuses a row: {one_line(exc)}. {changed}: run {command} again.") from exc


def newest_step(alias: str) -> tuple[str, str]:
    """Phase and name of the step that was begun last, whatever has become of it; refusals are none. Empty for none."""
    with outages(alias):
        row = Transition.objects.using(alias).exclude(outcome="refused").order_by("-pk").first()
    return (row.phase, row.step) if row is not None else ("", "")


def noted(alias: str, phase: str, step: str, since: dt.datetime | None) -> str:
    """What was noted last of that step since then, or ever; empty for nothing."""
    with outages(alias):
        steps = Transition.objects.using(alias).filter(phase=phase, step=step, outcome="done")
        row = (steps if since is None else steps.filter(begun_at__gte=since)).order_by("-pk").first()
    return row.detail if row is not None else ""


def rolled_back_since(alias: str, phase: str) -> bool:
    """Whether the latest rollback that was finished came after the latest finish of that phase."""
    with outages(alias):
        done = Transition.objects.using(alias).filter(step=FINISH, outcome="done", phase__in=(phase, "rollback"))
        row = done.order_by("-pk").first()
    return row is not None and row.phase != phase
