"""Two operators at once, or one in two terminals: a pause beside a phase, a switch beside a replay. Nothing waits for a
pause, nothing is sent under it, and what each command says is what holds.
"""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cutover import clock, models
from cutover.ledger.replays import Replays
from cutover.phases import pause, phase2, phase3, replay, resume, rollback
from cutover.phases.context import Context
from cutover.phases.operations.journal import Journal
from cutover.phases.report import Check, Outcome
from cutover.types import HolderId, Identity, Side
from demo.waiting import wait_until
from tests.integration.phases.conftest import Beat
from tests.support.ledger import new_slot
from tests.support.rooms import give_time

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

Surroundings = Callable[[], Context]
Beats = Callable[[Side], Beat]
SECOND = dt.timedelta(seconds=1)
MINUTE = dt.timedelta(minutes=1)


@pytest.fixture
def imported(context: Surroundings) -> None:
    """Phase 2 is done."""
    models.Cutover.objects.using(context().alias).update(phase=1)
    assert phase2.run(context()).outcome is Outcome.DONE


@pytest.fixture
def at_each_step(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[str], None]], None]]:
    """Has something done as each step of a command is recorded, as though from another terminal."""
    record = Journal._record

    def watch(act: Callable[[str], None]) -> None:
        def recorded(self: Journal, phase: str, step: str, **details: object) -> models.Transition:
            act(step)
            return record(self, phase, step, **details)

        monkeypatch.setattr(Journal, "_record", recorded)

    yield watch
    monkeypatch.setattr(Journal, "_record", record)


def sent(alias: str) -> int:
    return models.Slot.objects.using(alias).exclude(state="missed").count()


@pytest.mark.usefixtures("imported")
@pytest.mark.parametrize(
    "step", [*(pytest.param(each, marks=pytest.mark.long) for each in ("snapshot", "finish")), "switch", "lead"]
)
def test_a_pause_typed_in_the_middle_of_a_switch_and_of_the_way_back_hinders_neither_and_holds(
    context: Surroundings, beat: Beats, alias: str, at_each_step: Any, step: str
) -> None:
    before: list[int] = []

    def typed(now: str) -> None:
        if now == step and not before:
            assert pause.run(context(), reason="a restore").outcome is Outcome.DONE
            before.append(sent(alias))

    with beat(Side.CODE), beat(Side.DATABASE):
        wait_until(lambda: sent(alias), "the code side sends")
        at_each_step(typed)
        assert phase3.run(context()).outcome is Outcome.DONE
        assert before, "it has such a step"
        assert models.Fence.objects.using(alias).get().side == Side.DATABASE
        assert rollback.run(context()).outcome is Outcome.DONE
        give_time(1.2, "it falls due twice", unless=lambda: sent(alias) != before[0])
        assert sent(alias) == before[0]
        assert models.Pause.objects.using(alias).get(ended_at=None).reason == "a restore"
        assert resume.run(context()).outcome is Outcome.DONE
        wait_until(lambda: sent(alias) > before[0], "it is sent again")


@pytest.mark.usefixtures("imported")
def test_a_pause_for_a_while_that_ends_in_the_middle_of_a_switch_ends_on_the_side_that_leads_then(
    context: Surroundings, beat: Beats, alias: str, at_each_step: Any
) -> None:
    paused = [0]

    def over(now: str) -> None:
        if now == "lead":  # the side is switched: what falls due is the new side's
            paused.append(sent(alias))
            until = models.Pause.objects.using(alias).get().until
            assert until is not None
            wait_until(lambda: context().ledger.fence.read_now() > until, "the pause is over", timeout_s=30)

    with beat(Side.CODE), beat(Side.DATABASE):
        wait_until(lambda: sent(alias), "the code side sends")
        assert pause.run(context(), length=3 * SECOND).outcome is Outcome.DONE
        at_each_step(over)
        assert phase3.run(context()).outcome is Outcome.DONE
        wait_until(lambda: sent(alias) > paused[-1], "the new side sends by itself")
    late = models.Slot.objects.using(alias).filter(side="database").exclude(state="missed")
    until = models.Pause.objects.using(alias).get().until
    assert late.exists()
    assert all(row.claimed_at >= until for row in late)


@pytest.fixture
def outage(context: Surroundings, alias: str, monkeypatch: pytest.MonkeyPatch) -> list[dt.datetime]:
    """Twenty slots of an hourly entry are missed, and are asked for five at a time."""
    monkeypatch.setattr("cutover.phases.replay._leader", lambda *_: Check("leader", True, "one leads"))
    monkeypatch.setattr("cutover.phases.replay.WITHIN", dt.timedelta(0))
    monkeypatch.setattr("cutover.phases.evidence.missed.PIECE", 5)
    hour = clock.now().replace(minute=0, second=0, microsecond=0)
    due = [hour - hours * 60 * MINUTE for hours in range(1, 21)]
    for at in due:
        new_slot(alias, "hourly", at, state="missed", reason="a later slot was sent in its stead")
    return due


def between_commits(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Has something done once, after a replay's first commit."""
    ask = Replays.ask
    asked: list[int | None] = []

    def interfered(self: Replays, *given: Any) -> int | None:
        if len(asked) == 1:
            act()
        asked.append(ask(self, *given))
        return asked[-1]

    monkeypatch.setattr(Replays, "ask", interfered)


@pytest.mark.usefixtures("imported", "outage")
def test_a_switch_in_the_middle_of_a_replay_ends_it_with_what_was_asked_for_and_it_goes_on_when_typed_again(
    context: Surroundings, alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cutover.phases.operations.switchover._wait_for_leader", lambda *_: None)
    between_commits(monkeypatch, lambda: phase3.run(context(), force=True))
    first = replay.run(context(), entry="hourly")
    assert first.outcome is Outcome.FAILED
    assert first.lines == ["The active side has changed meanwhile, after 5 slots had been asked for."]
    asked = models.Slot.objects.using(alias).filter(replay_asked_at__isnull=False)
    assert asked.count() == 5
    again = replay.run(context(), entry="hourly")
    assert (again.outcome, again.data["slots"], again.data["side"]) == (Outcome.DONE, 15, "database")
    assert asked.count() == 20
    assert models.Slot.objects.using(alias).filter(entry="hourly").count() == 20


@pytest.mark.usefixtures("imported", "outage")
@pytest.mark.parametrize("entry", [None, "hourly"])
def test_a_resume_in_the_middle_of_a_replay_lets_the_leader_have_all_of_it(
    context: Surroundings, alias: str, monkeypatch: pytest.MonkeyPatch, entry: str | None
) -> None:
    pause.run(context(), entry=entry)
    between_commits(monkeypatch, lambda: resume.run(context(), entry=entry))
    found = replay.run(context(), entry="hourly")
    assert (found.outcome, found.data["sent"], found.data["waiting"]) == (Outcome.DONE, 0, 20)
    assert not [line for line in found.lines if "paused" in line]
    term = context().ledger.fence.open_term(Identity(HolderId("host:1:one"), "host", 1, ""), Side.CODE)
    assert term is not None
    taken = context().ledger.replays.claim(term, lambda name: True, 100)
    assert taken is not None and len(taken.claimed) == 20
