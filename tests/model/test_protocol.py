"""The protocol keeps its promises in every state that can be reached; and the checker would see if it did not."""

from pathlib import Path

import pytest

from tests.model.checker import BRIEF, check, missing

MUTANTS = {
    "NO_FENCE LOST=1": "in order",
    "NO_UNIQUE": "once",
    "NO_GUARD REDELIVERIES=1": "one run",
    "NO_SWEEP CRASHES=1": "to the end",
    "NO_SECOND_SWEEP BLIPS=1": "to the end",
    "NO_END DEATHS=1 REDELIVERIES=1": "one run",
    "NO_ACKS_LATE DEATHS=1 REDELIVERIES=1": "one run",
    "NO_RESEND DEATHS=1": "to the end",
    "NO_ATTEMPT DOUBTS=1": "to the end",
    "NO_ORDER ONE_ENTRY EVERY": "to the end",
    "NO_EVERY ONE_ENTRY EVERY CRASHES=1": "to the end",
    "NO_MISSED ONE_ENTRY REPLAYS=1": "once",
    "NO_REPLAY_SWEEP ONE_ENTRY REPLAYS=1 CRASHES=1": "to the end",
    "NO_PAUSE PAUSES=1": "still",
    "NO_KEPT PAUSES=1": "to the end",
    "NO_REPLAY_PAUSE ONE_ENTRY REPLAYS=1 PAUSES=1": "still",
}
"""A safeguard taken away, or a part of one, with the faults that it takes; and the promise that is then broken."""

LONG = {"both", "workers", "both, no cycle"}

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.long] * (name in LONG)) for name in BRIEF])
def test_every_promise_holds_in_every_state(name: str, tmp_path: Path) -> None:
    found = check(BRIEF[name], tmp_path, timeout_s=100, optimize="-O0")
    assert not found.broken, f"{found.broken}:\n{found.story}"
    print(f"{name}: {found.states:,} states in {found.seconds:.1f} s")


@pytest.mark.parametrize("options", MUTANTS)
def test_without_a_safeguard_a_promise_is_broken(options: str, tmp_path: Path) -> None:
    assert check(options, tmp_path, timeout_s=100, optimize="-O0").broken == MUTANTS[options]
