"""Every scenario, once: whatever breaks, every slot is run once, and what had to be missed the ledger names."""

import datetime as dt

import pytest

from .play import complaints, play
from .scenarios import ALWAYS_ON_MARIADB, ON_MARIADB, SCENARIOS, Scenario
from .theatre import Theatre

# In the order of their stages: one that stands is used again.
ORDER = sorted([*SCENARIOS, *ON_MARIADB], key=lambda scenario: (scenario.database, scenario.lease_s, scenario.cast))


def _case(scenario: Scenario) -> object:
    is_long = scenario in ON_MARIADB and not scenario.name.startswith(ALWAYS_ON_MARIADB)
    return pytest.param(scenario, id=scenario.name, marks=[pytest.mark.long] * is_long)


@pytest.mark.parametrize("scenario", [_case(scenario) for scenario in ORDER])
def test_every_slot_is_run_once(scenario: Scenario, theatre: Theatre) -> None:
    stage = theatre.standing(scenario.database, scenario.lease_s, scenario.cast)
    began = dt.datetime.now(dt.UTC)
    try:
        verdict = play(stage, scenario)
        assert complaints(scenario, verdict) == [], verdict
    except BaseException:
        print(stage.diary(since=began))
        theatre.give_up(stage)
        raise
