"""A switch that is watched: what makes the guard roll back, what it says else, and what holds when it is killed."""

import datetime as dt
import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from cutover import clock
from cutover.errors import LedgerUnavailable, PhaseFailed
from cutover.models import Fence, Pause, Slot, SwitchGuard, Term, Transition
from cutover.observe import status
from cutover.phases import facts, phase3, phase3_command, rollback, switch_guard
from cutover.phases.context import Context
from cutover.phases.report import Outcome, Report
from cutover.types import EntryName, Missed, RunOutcome, Side, Slotless
from tests.integration.phases.conftest import Beat
from tests.integration.phases.test_proof import ALL, MINUTES, Site
from tests.integration.phases.test_switch import assert_back, rows, run_until_killed

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

Surroundings = Callable[[], Context]
Beats = Callable[[Side], Beat]
SECOND = dt.timedelta(seconds=1)


@pytest.fixture
def schedule() -> dict[str, dict[str, Any]]:
    """An entry that falls due in each minute."""
    return {"minutely": {"task": "demo.tasks.note", "schedule": 60, "args": ("m",)}}


@pytest.fixture
def site(context: Surroundings) -> Site:
    """Phase 3 is done, half an hour ago."""
    return Site(context)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch is short, and nothing is waited for after its end."""
    monkeypatch.setattr("cutover.phases.switch_guard.GRACE", dt.timedelta(0))
    monkeypatch.setattr("cutover.phases.switch_guard.PATIENCE", SECOND)
    monkeypatch.setattr("cutover.phases.switch_guard.LOOK_EVERY_S", 0.1)
    monkeypatch.setattr("cutover.phases.switch_guard.TRY_EVERY_S", 0.1)
    # The leader of these tests is a row; a busy machine takes its time over some of them.
    monkeypatch.setattr("cutover.phases.evidence.since_switch.most_silence", lambda config: dt.timedelta(minutes=5))


def watch(context: Context, **options: Any) -> Report:
    return phase3_command.run(context, guard_for=SECOND, **options)


def test_a_switch_that_is_well_is_left_as_it_is(site: Site) -> None:
    site.send(*ALL)
    report = watch(site.context(), guard_command="true")
    assert (report.outcome, report.data["guard"]["outcome"]) == (Outcome.DONE, "held"), report
    assert report.data["guard"]["proven"] == MINUTES
    assert report.next_command.endswith("phase4")
    row = SwitchGuard.objects.using(site.alias).get()
    assert (row.outcome, row.detail, row.switch_epoch) == ("held", "", 6)
    seen = status.run(site.context())
    assert (seen.data["guard"]["outcome"], facts.read(site.context()).side) == ("held", Side.DATABASE)
    assert any(line.startswith("Guard     the guard of") for line in seen.lines)


def test_too_little_evidence_is_inconclusive_and_the_switch_holds(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.send(*ALL)
    monkeypatch.setattr("cutover.phases.switch_guard.LEAST_SLOTS", MINUTES + 1)
    report = watch(site.context())
    assert (report.outcome, report.outcome.exit_code) == (Outcome.INCONCLUSIVE, 3)
    assert f"{MINUTES} slots are proven" in report.lines[-1]
    monkeypatch.setattr("cutover.phases.switch_guard.LEAST_SLOTS", 1)
    Slot.objects.using(site.alias).update(run_by="1@server#1 host/boot/1:7:123:abcd:5.4.0")
    site.ledger.senders.count(Slotless("demo.tasks.note", "minutely", "gen7@web"), 9, 9, clock.now())
    deaf = watch(site.context())
    assert (deaf.outcome, "a beat without the lease" in deaf.lines[-1]) == (Outcome.INCONCLUSIVE, True)
    assert facts.read(site.context()).is_switched


def absent(site: Site) -> dict[str, Any]:
    site.send(*ALL[:-2])
    return {}


def missed(site: Site) -> dict[str, Any]:
    site.send(*ALL[:-1])
    site.ledger.claims.claim(site.term, [], [Missed(site.slot(ALL[-1]), "because")])
    return {}


def one_too_many(site: Site) -> dict[str, Any]:
    site.send(*ALL)
    odd = Slot.objects.using(site.alias).order_by("due_at")[5]
    odd.pk, odd.due_at = None, odd.due_at + SECOND
    odd.save(using=site.alias)
    return {}


def failing(site: Site) -> dict[str, Any]:
    site.send(*ALL)
    latest = Slot.objects.using(site.alias).order_by("-due_at").values_list("pk", flat=True)[:4]
    Slot.objects.using(site.alias).filter(pk__in=list(latest)).update(outcome=RunOutcome.FAILED)
    return {}


def silent(site: Site) -> dict[str, Any]:
    site.send(*ALL)
    long_ago = clock.now() - dt.timedelta(minutes=20)
    Term.objects.using(site.alias).update(started_at=long_ago, first_tick_at=long_ago, seen_at=long_ago)
    return {}


def commanded(site: Site) -> dict[str, Any]:
    site.send(*ALL)
    return {"guard_command": "sh -c 'exit 7'"}


WRONG: list[tuple[Callable[[Site], dict[str, Any]], str]] = [
    (absent, "was never claimed"),
    (missed, "was missed: because"),
    (one_too_many, "is no slot of the entry's schedule"),
    (failing, "4 runs have failed since the switch, where 3 may: minutely"),
    (silent, "has been silent for"),
    (commanded, "the guard command has ended with 7"),
]


@pytest.mark.parametrize(("make", "said"), WRONG, ids=[make.__name__ for make, _ in WRONG])
def test_a_switch_that_is_not_well_is_rolled_back_with_its_reason_in_the_journal(
    site: Site, beat: Beats, make: Callable[[Site], dict[str, Any]], said: str
) -> None:
    options = make(site)
    with beat(Side.CODE):
        report = watch(site.context(), **options)
    assert (report.outcome, report.outcome.exit_code) == (Outcome.FAILED, 1), report
    assert report.data["guard"]["outcome"] == "rolled back"
    assert said in report.data["guard"]["reason"]
    now = facts.read(site.context())
    assert (now.phase, now.side, now.snapshot) == (2, Side.CODE, 0)
    assert not any(enabled for enabled, _ in rows(site.context()).values())
    [noted] = Transition.objects.using(site.alias).filter(phase="rollback", step="guard")
    assert said in noted.detail
    assert said in SwitchGuard.objects.using(site.alias).get().detail
    again = rollback.run(site.context())
    assert (again.outcome, said in again.lines[-1]) == (Outcome.ALREADY, True)


def test_so_many_runs_may_fail_as_the_operator_says(site: Site) -> None:
    failing(site)
    assert watch(site.context(), guard_failures=4).outcome is Outcome.DONE


def test_a_guard_that_cannot_roll_back_says_so_and_leaves_the_side_that_sends(site: Site) -> None:
    absent(site)
    report = watch(site.context())
    assert (report.outcome, report.data["guard"]["outcome"]) == (Outcome.FAILED, "not rolled back")
    assert "code standby: no warm beat stands by" in report.data["guard"]["reason"]
    assert facts.read(site.context()).is_switched


@pytest.mark.parametrize("on_the_way", [True, False], ids=["amid the rollback", "before it"])
def test_a_guard_whose_rollback_meets_an_outage_tries_again(
    site: Site, beat: Beats, monkeypatch: pytest.MonkeyPatch, on_the_way: bool
) -> None:
    absent(site)
    away, tried = LedgerUnavailable("The database gives no answer."), itertools.count()
    read, roll_back = switch_guard.read, rollback.run

    def run(context: Context, **options: Any) -> Report:
        if next(tried):
            monkeypatch.setattr(switch_guard, "read", read)
            return roll_back(context, **options)

        def unread(context: Context) -> facts.State:
            raise away

        monkeypatch.setattr(switch_guard, "read", unread)
        if not on_the_way:
            raise away
        raise PhaseFailed("This happened on the way.") from away

    monkeypatch.setattr(rollback, "run", run)
    with beat(Side.CODE):
        report = watch(site.context())
    assert report.data["guard"]["outcome"] == "rolled back", report
    assert facts.read(site.context()).side is Side.CODE


def test_a_guard_that_is_overtaken_by_a_rollback_says_so(site: Site) -> None:
    site.send(*ALL)
    watched = site.context()
    watched.live = lambda what, left: rollback.run(site.context(), force=True) and None
    report = watch(watched)
    assert (report.outcome, report.data["guard"]["outcome"]) == (Outcome.FAILED, "overtaken")
    assert not Transition.objects.using(site.alias).filter(step="guard").exists()


def test_a_guard_is_posted_before_the_switch_is_finished_and_wants_a_way_back(
    site: Site, beat: Beats, context: Surroundings
) -> None:
    rollback.run(context(), force=True)
    with beat(Side.DATABASE):
        refused = watch(context())
        assert [check.name for check in refused.checks if not check.ok] == ["code standby"]
        with beat(Side.CODE):
            assert phase3.run(context(), guarded=SECOND).outcome is Outcome.DONE
    steps = list(Transition.objects.using(site.alias).order_by("-pk").values_list("step", flat=True)[:2])
    assert steps == ["finish", "guard"]
    guarded = SwitchGuard.objects.using(site.alias).get()
    assert guarded.switch_epoch == facts.read(context()).switch_epoch


def test_ctrl_c_ends_the_watch_and_the_next_command_says_what_holds(site: Site) -> None:
    site.send(*ALL)
    watched = site.context()

    def press(what: str, left: dt.timedelta) -> None:
        raise KeyboardInterrupt

    watched.live = press
    with pytest.raises(KeyboardInterrupt):
        watch(watched)
    assert status.run(site.context()).data["guard"]["outcome"] == "interrupted"
    said = phase3_command.run(site.context())
    assert said.outcome is Outcome.ALREADY
    assert "was interrupted: the switch holds, and nothing watches it." in said.lines[-1]
    assert watch(site.context()).data["guard"]["outcome"] == "held"


# Who is killed while it reads closes no cursor; the server does that then.
@pytest.mark.filterwarnings("ignore:Exception ignored in. .function ServerCursorMixin")
@pytest.mark.parametrize("step", [24, pytest.param(2, marks=pytest.mark.long)], indirect=True)
def test_a_guard_killed_at_any_statement_leaves_nothing_half_done(
    site: Site, beat: Beats, context: Surroundings, step: int
) -> None:
    rollback.run(context(), force=True)
    before = rows(context())
    alarmed = partial(watch, guard_command="false")
    with beat(Side.CODE), beat(Side.DATABASE):
        for statements in itertools.count(1, step):
            assert phase3.run(context()).outcome is Outcome.DONE
            killed = run_until_killed(context(), alarmed, statements)
            now = facts.read(context())
            guard = status.run(context()).data["guard"]
            if killed and guard is not None and guard["outcome"] == "killed":
                assert ("nothing watches it" in guard["said"]) == now.is_switched
                assert now.is_switched or now.in_words() in guard["said"]
            if now.is_switched:
                assert alarmed(context()).data["guard"]["outcome"] == "rolled back"
            elif now.is_begun:
                assert phase3_command.run(context()).next_command.endswith("rollback")
                assert_back(context(), rollback.run(context()), before)
            assert rows(context()) == before
            assert Fence.objects.using(site.alias).get().side == Side.CODE
            if not killed:
                break
        assert statements > 30


@pytest.mark.parametrize("entry", ["", "minutely"])
def test_what_a_pause_keeps_back_is_no_miss_and_no_proof_and_the_switch_holds(site: Site, entry: str) -> None:
    """Absent, and claimed and kept; and after the pause what is sent late, and what was passed over for it."""
    site.send(*ALL[:-4])
    site.send(ALL[-4], confirm=False, run=False)
    site.age(ALL[-4])
    pauses = site.ledger.pauses
    pauses.pause(EntryName(entry), None, "alice@host", "a restore")
    Pause.objects.using(site.alias).update(paused_at=site.slot(ALL[-4]).due_at)
    report = watch(site.context())
    assert (report.outcome, report.data["guard"]["outcome"]) == (Outcome.INCONCLUSIVE, "inconclusive"), report
    assert report.lines[-1].startswith("Inconclusive: 4 slots are under way still, or paused")
    pauses.resume(EntryName(entry), "alice@host")
    assert watch(site.context()).data["guard"]["outcome"] == "inconclusive", "the leader has not got to it yet"
    site.ledger.claims.confirm([site.slot(ALL[-4])])
    site.ledger.runs.start(site.slot(ALL[-4]), site.term.epoch, "a-worker")
    missed = [Missed(site.slot(ALL[-2]), "paused (a restore): a later slot was sent in its stead", 1)]
    site.ledger.claims.claim(site.term, [site.slot(ALL[-1])], missed)
    site.ledger.claims.confirm([site.slot(ALL[-1])])
    site.ledger.runs.start(site.slot(ALL[-1]), site.term.epoch, "a-worker")
    report = watch(site.context())
    assert (report.data["guard"]["outcome"], report.data["guard"]["proven"]) == ("held", MINUTES - 2), report
    Pause.objects.using(site.alias).update(paused_at=site.slot(ALL[-2]).due_at + 31 * SECOND)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rollback, "run", lambda context, **_: Report("rollback", Outcome.DONE, (), []))
        report = watch(site.context())
    assert "was never claimed" in report.data["guard"]["reason"], "what no pause kept back is missing all the same"
