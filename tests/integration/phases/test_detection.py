"""Where no worker can hear a beat without the lease, no command says that there is none."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from cutover import clock
from cutover.errors import PhaseFailed
from cutover.models import Cutover, Slot
from cutover.observe import status
from cutover.phases import phase1, phase2, phase3
from cutover.phases.context import Context
from cutover.phases.evidence import detection
from cutover.phases.gates import beats
from cutover.phases.operations import remembered
from cutover.phases.report import Outcome
from cutover.types import EntryName, Epoch, SentBy, Side, Slotless
from cutover.types import Slot as SlotName

pytestmark = pytest.mark.integration

Surroundings = Callable[[], Context]
NOTE, OTHER = "demo.tasks.note", "celery.backend_cleanup"
STRAY, WEB = "gen7@old-web", "gen8@web"


@pytest.fixture
def schedule() -> dict[str, dict[str, Any]]:
    minutely = dt.timedelta(minutes=1)
    return {
        "a": {"task": NOTE, "schedule": minutely, "args": ("a",)},
        "b": {"task": OTHER, "schedule": minutely},
    }


@pytest.fixture
def ran(context: Surroundings) -> Callable[..., None]:
    """A worker of that celery has run a slot, so long ago."""

    def ran(celery: str, ago: dt.timedelta = dt.timedelta(0)) -> None:
        at = clock.now() - ago
        slot = SlotName(at, EntryName("a"))
        context().ledger.runs.start(slot, Epoch(1), f"1@server#1 host/boot/1:7:123:abcd:{celery}")
        Slot.objects.using(context().alias).filter(due_at=at).update(run_started_at=at)

    return ran


def send(context: Context, origin: str, messages: int, at_slots: int, task: str = NOTE) -> None:
    context.ledger.senders.count(Slotless(task, "a", origin), messages, at_slots, clock.now())


def unheard(context: Context) -> list[str]:
    return [problem for problem in status.run(context).data["problems"] if "without the lease" in problem]


def test_below_celery_5_7_the_gate_and_status_name_the_tasks_that_nobody_can_hear(context, ran):
    ran("5.4.0")
    check = beats.no_unmanaged_beat(context())
    said = f"cannot be heard for tasks {OTHER}, {NOTE}: celery 5.4.0, which workers run, marks no beat's message"
    assert (check.ok, check.detail) == (False, said)
    assert "--only-beat-sends TASK" in check.remedy
    assert beats.no_unmanaged_beat(context(), is_asked_later=True).ok
    [problem] = unheard(context())
    assert said in problem
    assert status.run(context()).data["unheard_tasks"] == [OTHER, NOTE]


def test_from_celery_5_7_on_none_is_heard(context, ran):
    ran("5.4.0", ago=dt.timedelta(hours=2))
    ran("5.10.1")
    check = beats.no_unmanaged_beat(context())
    assert (check.ok, check.detail) == (True, "none is heard")
    assert unheard(context()) == []


def test_phase_3_refuses_until_the_operator_has_said_who_sends_the_tasks(context, ran, beat):
    Cutover.objects.using(context().alias).update(phase=1)
    assert phase2.run(context()).outcome is Outcome.DONE
    context().ledger.fence.set_guarded(clock.now())
    with beat(Side.DATABASE):
        ran("5.4.0")
        report = phase3.run(context())
        assert report.outcome is Outcome.REFUSED
        assert [check.name for check in report.checks if not check.ok] == ["unmanaged beats"]
        assert context().ledger.fence.read().side is Side.CODE
        report = phase3.run(context(), only_beat_sends=[OTHER], called_by_hand=["all"])
        assert report.outcome is Outcome.DONE
    assert context().ledger.senders.sent_by() == {OTHER: SentBy.BEATS_ALONE, NOTE: SentBy.HAND}


def test_of_workers_of_two_releases_the_older_counts(context, ran):
    ran("5.7.0")
    ran("5.6.2", ago=dt.timedelta(minutes=5))
    assert not beats.no_unmanaged_beat(context()).ok


def test_where_no_worker_has_answered_that_is_said(context):
    check = beats.no_unmanaged_beat(context())
    assert check.ok
    assert "not known, for no guarded worker has answered" in check.detail


def test_what_workers_answer_to_this_very_command_counts_first(context, ran):
    ran("5.7.0")
    asked = context()
    asked.celery_of_workers = {"5.5.3", "5.7.0"}
    assert "celery 5.5.3" in beats.no_unmanaged_beat(asked).detail


def test_the_operators_word_on_every_task_is_remembered(context, ran):
    ran("5.4.0")
    remembered.senders_named(context(), [NOTE], [])
    assert f"for tasks {OTHER}:" in beats.no_unmanaged_beat(context()).detail
    remembered.senders_named(context(), [], ["all"])
    assert context().ledger.senders.sent_by() == {NOTE: SentBy.BEATS_ALONE, OTHER: SentBy.HAND}
    check = beats.no_unmanaged_beat(context())
    assert (check.ok, check.detail) == (True, f"none is heard; of {OTHER}, called by hand, none can be")
    assert unheard(context()) == []


@pytest.mark.parametrize(
    ("alone", "by_hand", "said"),
    [
        (["demo.tasks.not"], [], "did you mean 'demo.tasks.note'"),
        ([NOTE], [NOTE], "for both"),
        (["all"], ["all"], "for both"),
    ],
)
def test_what_contradicts_itself_or_is_no_scheduled_task_is_refused_whole(context, alone, by_hand, said):
    with pytest.raises(PhaseFailed, match=said):
        remembered.senders_named(context(), alone, by_hand)
    assert context().ledger.senders.sent_by() == {}


def test_phase_1_takes_the_word_also_when_it_is_done(context):
    context().ledger.fence.set_guarded(clock.now())
    Cutover.objects.using(context().alias).update(phase=1)
    report = phase1.run(context(), called_by_hand=[NOTE])
    assert "Who sends the tasks is remembered; nothing else was changed." in report.lines[0]
    assert context().ledger.senders.sent_by() == {NOTE: SentBy.HAND}


@pytest.mark.parametrize(
    ("messages", "at_slots", "is_probable"), [(15, 14, True), (4, 3, True), (3, 2, False), (10, 5, False)]
)
def test_an_origin_that_sends_when_slots_are_due_is_a_probable_beat_whatever_workers_can_hear(
    context, ran, messages, at_slots, is_probable
):
    ran("5.7.0")
    send(context(), STRAY, messages, at_slots)
    send(context(), WEB, 20, 1)
    assert list(detection.probable(context())) == ([STRAY] if is_probable else [])
    check = beats.no_unmanaged_beat(context())
    assert check.ok is not is_probable
    if is_probable:
        said = f"{at_slots} of its {messages} messages of {NOTE} came when a slot was due"
        assert said in check.detail
        assert unheard(context()) == [f"probably a beat without the lease: {STRAY}, {said}"]


def test_a_probable_beat_may_be_stopped_or_be_none_by_the_operators_word(context, ran):
    ran("5.7.0")
    send(context(), STRAY, 15, 14)
    remembered.senders_named(context(), [], [NOTE])
    assert beats.no_unmanaged_beat(context()).ok
    remembered.senders_named(context(), [NOTE], [])
    assert not beats.no_unmanaged_beat(context()).ok
    remembered.beats_stopped(context(), [STRAY])
    assert beats.no_unmanaged_beat(context()).ok
