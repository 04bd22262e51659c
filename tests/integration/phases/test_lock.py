"""One operator at a time: who holds the cutover, and whose hold is taken over."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from cutover.errors import OperatorBusy, PhaseFailed
from cutover.models import Cutover
from cutover.phases import facts, phase3, rollback
from cutover.phases.context import Context
from cutover.phases.operations import switchover
from cutover.phases.operations.journal import at_work
from cutover.types import Side
from cutover.workers.processes import own_name

pytestmark = pytest.mark.integration

Surroundings = Callable[[], Context]

ENDED = f"{own_name()}0"
"""The name of a process of this number that began at another time."""
LONG_AGO = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


@pytest.fixture(autouse=True)
def imported(context: Surroundings) -> None:
    """Phase 2 is done."""
    Cutover.objects.using(context().alias).update(phase=2)


def test_of_two_operators_one_is_told_of_the_other(context: Surroundings) -> None:
    with at_work(context().alias, "phase3") as first, pytest.raises(OperatorBusy) as busy:
        phase3.run(context())
    assert first.operator in str(busy.value)
    assert "phase3 since" in str(busy.value)
    assert Cutover.objects.using(context().alias).get().operator == ""


@pytest.mark.parametrize(
    "fact",
    [{"operator_process": ENDED}, {"operator_process": "elsewhere:7:1", "operator_seen_at": LONG_AGO}],
)
def test_the_lock_of_a_dead_operator_is_taken_over(context: Surroundings, fact: dict[str, Any]) -> None:
    with at_work(context().alias, "phase3") as dead:
        Cutover.objects.using(context().alias).update(**fact)
        with at_work(context().alias, "rollback"):
            pass
        with pytest.raises(OperatorBusy, match="taken over"), dead.step("phase3", "switch"):
            pass


def test_an_operator_that_is_frozen_after_its_check_commits_nothing_once_another_has_taken_over(
    context: Surroundings,
) -> None:
    """Otherwise it would switch to rows that the other one has disabled, and nothing would be sent."""
    site = context()
    with pytest.raises(PhaseFailed, match="taken over"), at_work(site.alias, "phase3") as frozen:  # noqa: SIM117
        with frozen.step("phase3", "switch"):
            Cutover.objects.using(site.alias).update(operator_seen_at=LONG_AGO, operator_process="elsewhere:7:1")
            with at_work(site.alias, "rollback"):
                pass
            switchover.switch(site, frozen, Side.DATABASE)
    assert facts.read(site).side is Side.CODE
    assert Cutover.objects.using(site.alias).get().switch_epoch is None


def test_an_operator_in_another_container_of_the_same_host_name_is_not_taken_for_dead(context: Surroundings) -> None:
    host, _, rest = own_name().partition("/")
    with at_work(context().alias, "phase3"):
        Cutover.objects.using(context().alias).update(operator_process=f"{host}/1:{2**22 - 1}:{rest}")
        with pytest.raises(OperatorBusy):
            rollback.run(context())
