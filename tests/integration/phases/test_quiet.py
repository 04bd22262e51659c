"""A switch when it is quiet: waited for, ordered about by other commands, checked again at the instant."""

import datetime as dt
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from celery.schedules import crontab
from django.db import connections

from cutover import clock
from cutover.errors import ConfigurationError, OperatorBusy
from cutover.models import Cutover, QuietWait, Slot, Transition
from cutover.observe import status
from cutover.phases import facts, phase2, phase3_command, rollback
from cutover.phases.context import Context
from cutover.phases.evidence import waits_and_guards
from cutover.phases.gates import quiet as gate
from cutover.phases.operations import attended, quiet_wait
from cutover.phases.operations.quiet_wait import CalledOff, NoWindow
from cutover.phases.report import Outcome, Report
from cutover.types import EntryName, Side, SlotState
from cutover.workers.processes import own_name
from demo.waiting import wait_until
from tests.integration.phases.conftest import Beat
from tests.integration.phases.test_switch import ENDED, rows, run_until_killed
from tests.support.ledger import new_slot

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

Surroundings = Callable[[], Context]
MINUTE = dt.timedelta(minutes=1)


@pytest.fixture
def schedule() -> dict[str, dict[str, Any]]:
    """Nothing but what falls due tomorrow: the longest window is the one that has begun."""
    before = clock.now() - dt.timedelta(hours=1)
    return {"daily": {"task": "demo.tasks.note", "schedule": crontab(hour=before.hour, minute=0), "args": ("d",)}}


@pytest.fixture(autouse=True)
def imported(context: Surroundings) -> None:
    """Phase 2 is done."""
    Cutover.objects.using(context().alias).update(phase=1)
    assert phase2.run(context()).outcome is Outcome.DONE


class Waiter:
    """A command that waits, in a thread of its own."""

    def __init__(self, context: Surroundings, **options: Any) -> None:
        self.report: Report | None = None
        self.error: Exception | None = None
        self.live: list[tuple[str, dt.timedelta]] = []
        self._context = context
        self._thread = threading.Thread(target=self._run, kwargs=options)

    def _run(self, **options: Any) -> None:
        context = self._context()
        context.live = lambda what, left: self.live.append((what, left))
        try:
            self.report = phase3_command.run(context, quiet=True, force=True, **options)
        except Exception as exc:
            self.error = exc
        finally:
            connections.close_all()

    @contextmanager
    def waiting(self) -> Iterator[QuietWait]:
        """Started, with its window chosen; the block has to make it end."""
        self._thread.start()
        yield wait_until(self._planned, "it waits", timeout_s=60)
        self._thread.join()

    def _planned(self) -> QuietWait | None:
        assert self.error is None and self.report is None, (self.error, self.report)
        row = waits_and_guards.waiting(self._context())
        return row if row is not None and row.leaps_at is not None else None


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> None:
    """The window that there is begins in two minutes, as though a slot fell due then."""
    began = clock.now()

    def quiet(self: object, since: dt.datetime, until: dt.datetime) -> list[tuple[dt.datetime, dt.datetime]]:
        begin = max(since, began + 2 * MINUTE)
        return [(begin, until)] if until - begin >= MINUTE else []

    monkeypatch.setattr("cutover.phases.evidence.upcoming.Upcoming.quiet", quiet)


def nothing_done(context: Context) -> None:
    now = facts.read(context)
    assert (now.phase, now.side, now.snapshot) == (2, Side.CODE, 0)
    assert not Transition.objects.using(context.alias).filter(phase="phase3", outcome="done").exists()


def test_a_window_that_has_begun_is_taken_at_once(context: Surroundings) -> None:
    report = phase3_command.run(context(), quiet=True, force=True)
    assert report.outcome is Outcome.DONE, report
    assert facts.read(context()).side is Side.DATABASE
    assert "nothing open" in [check.name for check in report.checks]
    row = QuietWait.objects.using(context().alias).get()
    assert (row.outcome, row.ended_at is not None) == ("leapt", True)
    assert report.data["quiet"] == {"from": row.window_from.isoformat(), "to": row.window_to.isoformat()}
    assert phase3_command.run(context(), quiet=True).outcome is Outcome.ALREADY


@pytest.mark.usefixtures("far")
def test_it_is_shown_postponed_and_called_off_by_other_commands(context: Surroundings) -> None:
    waiter = Waiter(context)
    with waiter.waiting() as row:
        assert row.leaps_at - clock.now() > MINUTE
        [line] = [line for line in status.run(context()).lines if line.startswith("Waits ")]
        assert "waits for a quiet window, to switch at" in line
        with pytest.raises(OperatorBusy, match="waits for a quiet window already"):
            phase3_command.run(context(), quiet=True, force=True)
        at = (row.leaps_at + 10 * MINUTE).replace(microsecond=0)
        later = phase3_command.run(context(), postpone=at.isoformat())
        assert later.outcome is Outcome.DONE, later
        assert later.data["quiet_wait"]["leaps_at"] >= at.isoformat()
        assert phase3_command.run(context(), postpone=at.isoformat()).data == later.data, "typed twice: postponed once"
        ended = phase3_command.run(context(), call_off=True)
        assert ended.data["quiet_wait"]["outcome"] == "called off"
    assert isinstance(waiter.error, CalledOff), waiter.report
    assert waiter.live[0][1] > MINUTE
    nothing_done(context())
    assert phase3_command.run(context(), now=True).outcome is Outcome.REFUSED, "nobody waits any more"


@pytest.mark.usefixtures("far")
def test_it_is_hurried_by_another_command(context: Surroundings) -> None:
    waiter = Waiter(context)
    with waiter.waiting():
        assert phase3_command.run(context(), now=True).outcome is Outcome.DONE
    assert waiter.report is not None and waiter.report.outcome is Outcome.DONE, waiter.error
    assert facts.read(context()).side is Side.DATABASE


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders are taken soon."""
    monkeypatch.setattr(quiet_wait, "POLL_S", 0.05)


@pytest.mark.usefixtures("far", "quick")
def test_postponed_to_a_time_by_a_command_that_is_killed_at_any_statement_and_typed_again_it_is_postponed_once(
    context: Surroundings, alias: str
) -> None:
    until = (clock.now() + 30 * MINUTE).replace(microsecond=0)
    postpones = partial(phase3_command.run, postpone=until.isoformat())
    waiter = Waiter(context)
    with waiter.waiting() as row:
        for statements in itertools.count(1):
            killed = run_until_killed(context(), postpones, statements)
            attended.change(context(), row, process=own_name())  # who waits was not killed
            again = postpones(context())
            assert again.outcome is Outcome.DONE, again
            now = QuietWait.objects.using(alias).get()
            assert (now.not_before, now.answered) == (until, now.asked), f"killed after {statements} statements"
            assert until <= now.leaps_at < until + MINUTE
            if not killed:
                break
        phase3_command.run(context(), call_off=True)
    assert statements > 5
    nothing_done(context())


@pytest.mark.usefixtures("far", "quick")
@pytest.mark.parametrize(("order", "outcome"), [("now", "leapt"), ("call_off", "called off")])
def test_an_order_whose_command_is_killed_as_it_waits_for_the_answer_and_is_typed_again_says_that_it_was_obeyed(
    context: Surroundings, order: str, outcome: str
) -> None:
    orders = partial(phase3_command.run, **{order: True})
    waiter = Waiter(context)
    with waiter.waiting():
        killed = context()
        killed.wait_for = lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt)  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            orders(killed)
    again = orders(context())
    assert (again.outcome, again.data["quiet_wait"]["outcome"]) == (Outcome.ALREADY, outcome)
    assert outcome in again.lines[0]
    assert phase3_command.run(context(), postpone="10m").outcome is Outcome.REFUSED
    attended.begin(context(), QuietWait, until=clock.now() + MINUTE)
    QuietWait.objects.using(context().alias).filter(ended_at=None).update(process=ENDED)
    assert orders(context()).outcome is Outcome.REFUSED, "a later wait was killed, and obeyed nobody"


def test_what_is_called_off_stays_so_whatever_another_operator_orders_before_it_is_heard(
    context: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quiet_wait, "TAKEN_WITHIN", dt.timedelta(0))
    attended.begin(context(), QuietWait, until=clock.now() + 60 * MINUTE)
    for order in ({"call_off": True}, {"postpone": "10m"}, {"now": True}):
        said = phase3_command.run(context(), **order)  # type: ignore[arg-type]
        assert "has not taken the order yet" in said.lines[0]
    row = QuietWait.objects.using(context().alias).get()
    assert (row.order, row.asked, row.not_before) == ("call off", 1, None)
    quiet_wait_again = quiet_wait.Wait(context(), row, dt.timedelta(0))
    row.asked = 0
    with pytest.raises(CalledOff):
        quiet_wait_again.wait()


@pytest.mark.usefixtures("far")
def test_no_window_up_to_the_time_given_is_refused_and_nothing_is_done(context: Surroundings) -> None:
    with pytest.raises(NoWindow, match="is quiet for a minute"):
        phase3_command.run(context(), quiet=True, force=True, by="2m")
    assert QuietWait.objects.using(context().alias).get().outcome == "no window"
    nothing_done(context())


@pytest.mark.usefixtures("far")
def test_ctrl_c_ends_it_with_nothing_done(context: Surroundings) -> None:
    interrupted = context()

    def press(what: str, left: dt.timedelta) -> None:
        raise KeyboardInterrupt

    interrupted.live = press
    with pytest.raises(KeyboardInterrupt):
        phase3_command.run(interrupted, quiet=True, force=True)
    assert QuietWait.objects.using(context().alias).get().outcome == "interrupted"
    assert waits_and_guards.waiting(context()) is None
    nothing_done(context())


def test_a_wait_that_was_killed_is_in_nobodys_way(context: Surroundings) -> None:
    site = context()
    row = attended.begin(site, QuietWait, until=clock.now() + MINUTE)
    assert waits_and_guards.waiting(site) is not None
    attended.change(site, row, process=f"{own_name()}0")  # a process of this number that began at another time
    assert waits_and_guards.waiting(site) is None
    attended.change(site, row, process="another-host:1:1")
    assert waits_and_guards.waiting(site) is not None
    attended.change(site, row, seen_at=clock.now() - 2 * waits_and_guards.STALE_AFTER)
    assert waits_and_guards.waiting(site) is None
    assert phase3_command.run(context(), quiet=True, force=True).outcome is Outcome.DONE


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cutover.phases.gates.quiet.PATIENCE", dt.timedelta(seconds=0.5))


@pytest.mark.usefixtures("impatient")
def test_it_is_refused_while_a_claim_is_unpublished(context: Surroundings) -> None:
    slot = new_slot(context().alias, "daily", clock.now() - MINUTE, state=SlotState.CLAIMED)
    report = phase3_command.run(context(), quiet=True, force=True)
    assert report.outcome is Outcome.REFUSED
    [check] = [check for check in report.checks if not check.ok]
    assert "claimed and not published" in check.detail
    assert not QuietWait.objects.using(context().alias).exists()
    nothing_done(context())
    Slot.objects.using(context().alias).filter(pk=slot.pk).update(state=SlotState.PUBLISHED)
    assert phase3_command.run(context(), quiet=True, dry_run=True, force=True).outcome is Outcome.DONE


@pytest.mark.usefixtures("impatient")
def test_what_is_claimed_meanwhile_is_seen_at_the_instant(
    context: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = quiet_wait.Wait.wait

    def claimed_meanwhile(self: quiet_wait.Wait) -> None:
        waits(self)
        new_slot(context().alias, "daily", clock.now() - MINUTE, state=SlotState.CLAIMED)

    monkeypatch.setattr(quiet_wait.Wait, "wait", claimed_meanwhile)
    report = phase3_command.run(context(), quiet=True, force=True)
    assert report.outcome is Outcome.REFUSED
    assert [check.name for check in report.checks if not check.ok] == ["nothing open"]
    assert QuietWait.objects.using(context().alias).get().outcome == "refused"
    nothing_done(context())


@pytest.mark.usefixtures("far")
def test_postponed_while_the_gates_are_asked_it_waits_again(
    context: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the instant it holds the cutover, and waits for no other window under that lock."""
    waits = quiet_wait.Wait.wait
    waited: list[dt.datetime | None] = []

    def ordered_meanwhile(self: quiet_wait.Wait) -> None:
        waited.append(self.window and self.window.at)
        if len(waited) == 1:
            self._lead = 3 * MINUTE  # so that it is time to ask at once
            waits(self)
            row = waits_and_guards.waiting(context())
            assert row is not None
            monkeypatch.setattr(quiet_wait, "TAKEN_WITHIN", dt.timedelta(0))
            phase3_command.run(context(), postpone="20m")
        else:
            phase3_command.run(context(), now=True)
            waits(self)

    monkeypatch.setattr(quiet_wait.Wait, "wait", ordered_meanwhile)
    report = phase3_command.run(context(), quiet=True, force=True)
    assert report.outcome is Outcome.DONE, report
    assert len(waited) == 2
    assert waited[1] is not None and waited[1] > clock.now() + 10 * MINUTE
    assert Transition.objects.using(context().alias).filter(phase="phase3", step="gates", outcome="refused").exists()


def test_a_schedule_that_has_changed_meanwhile_is_seen_at_the_instant(
    context: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = {"daily": clock.now() + dt.timedelta(seconds=2)}
    monkeypatch.setattr("cutover.phases.evidence.upcoming.Upcoming.next_slots", lambda self: soon)
    report = phase3_command.run(context(), quiet=True, force=True)
    assert report.outcome is Outcome.REFUSED
    assert "daily falls due at" in report.checks[-1].detail
    nothing_done(context())


@pytest.mark.parametrize("step", [30, pytest.param(4, marks=pytest.mark.long)], indirect=True)
def test_killed_at_any_statement_the_wait_and_its_switch_are_begun_again(
    context: Surroundings, beat: Callable[[Side], Beat], step: int
) -> None:
    before = rows(context())
    waits = partial(phase3_command.run, quiet=True)
    with beat(Side.CODE), beat(Side.DATABASE):
        for statements in itertools.count(1, step):
            killed = run_until_killed(context(), waits, statements)
            if not facts.read(context()).is_switched:
                assert phase3_command.run(context(), quiet=True, dry_run=True).outcome is Outcome.DONE
                assert waits(context()).outcome is Outcome.DONE
            assert facts.read(context()).is_switched
            assert rollback.run(context()).outcome is Outcome.DONE
            assert rows(context()) == before
            if not killed:
                break
    assert statements > 30


@pytest.mark.parametrize(
    "options",
    [
        {"postpone": "1m", "now": True},
        {"postpone": "1m", "quiet": True},
        {"call_off": True, "dry_run": True},
        {"by": "02:30"},
        {"quiet": True, "by": "soon"},
        {"guard_failures": 3},
        {"guard_command": "true"},
        {"guard_for": MINUTE, "guard_command": "no-such-command"},
        {"guard_for": MINUTE, "guard_command": "'"},
    ],
)
def test_options_that_do_not_go_together_are_refused(context: Surroundings, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        phase3_command.run(context(), **options)
    nothing_done(context())


def test_what_a_pause_keeps_back_is_not_open_and_the_leap_is_taken(context: Surroundings) -> None:
    """A claim that was kept, and a slot that is overdue for it; the windows are those of the timetables."""
    ledger, daily = context().ledger, EntryName("daily")
    due_at = clock.now().replace(minute=0, second=0, microsecond=0) - 25 * 60 * MINUTE
    new_slot(context().alias, "daily", due_at, state=SlotState.CLAIMED)
    assert not gate.nothing_open(context(), Side.CODE, dt.timedelta(0)).ok
    ledger.pauses.pause(daily, None, "alice@host", "a restore")
    assert gate.nothing_open(context(), Side.CODE, dt.timedelta(0)).ok
    report = phase3_command.run(context(), quiet=True, force=True)
    assert report.outcome is Outcome.DONE, report
    assert [pause.entry for pause in context().ledger.pauses.read()] == [daily], "it holds on the other side too"
