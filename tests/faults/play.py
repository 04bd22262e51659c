"""Plays a scenario on a stage and says what it came to."""

import datetime as dt
import random

from demo.waiting import wait_until

from .actions import ACTIONS
from .member import Member
from .scenarios import Scenario
from .stage import Stage
from .verdict import Verdict

CLEAR = dt.timedelta(milliseconds=200)
"""Before the first step: no slot from before the watch is still on its way when something breaks."""
BUSY_S = 1.0
"""How much longer a slot may wait on a machine that eight such stages share; the figures bound a takeover by itself."""


def play(stage: Stage, scenario: Scenario, chance: random.Random | None = None) -> Verdict:
    """Play all steps, watch for a while, heal the stage, and judge from the first step to the end.

    ``chance`` moves each step, the first one included, by up to a second.
    """
    since = dt.datetime.now(dt.UTC)
    began = since + CLEAR + dt.timedelta(seconds=chance.random() if chance else 0)
    member: Member | None = None
    for at_s, fault, *on_whom in scenario.steps:
        _wait_for(began + dt.timedelta(seconds=at_s * (chance.uniform(0.7, 1.3) if chance else 1)))
        member = _find(stage, on_whom[0], member) if on_whom else None
        name, *arguments = fault.split()
        ACTIONS[name](stage, *([member] if member else []), *arguments)
    _wait_for(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=scenario.after_s))
    stage.heal()
    return stage.verdict(since, dt.datetime.now(dt.UTC))


def complaints(scenario: Scenario, verdict: Verdict) -> list[str]:
    """What the scenario does not allow; empty when all is well."""
    forbidden = {
        "nothing was expected": not verdict.expected,
        "run twice": verdict.doubled,
        "recorded by a leader that was succeeded": verdict.stale,
        "lost without a trace": verdict.lost,
        "missed": not scenario.may_miss and verdict.omitted,
        "missed without a gap": not scenario.may_skip and verdict.too_soon,
        "handed over twice": not scenario.may_repeat and verdict.handed_twice,
        "died with their worker": len(verdict.died) > scenario.may_die and verdict.died,
        "waited too long": verdict.longest_wait.total_seconds() > scenario.wait_s + BUSY_S and verdict.longest_wait,
    }
    return [f"{what}: {found}" for what, found in forbidden.items() if found]


def _find(stage: Stage, name: str, before: Member | None) -> Member:
    if name == "same":
        assert before is not None
        return before
    return stage.leader() if name == "leader" else stage.standby() if name == "standby" else stage.cast[name]


def _wait_for(instant: dt.datetime) -> None:
    wait_until(lambda: dt.datetime.now(dt.UTC) >= instant, "the next step is due", timeout_s=120, poll_s=0.01)
