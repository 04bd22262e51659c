"""What raises a guard's alarm, and how long a leader may be silent."""

import datetime as dt
import sys

import pytest

from cutover.conf import Config
from cutover.errors import ConfigurationError
from cutover.phases.evidence import since_switch
from cutover.phases.operations import alarm


def test_a_leader_may_be_silent_for_as_long_as_one_that_is_well_ever_is() -> None:
    assert since_switch.most_silence(Config()) == dt.timedelta(seconds=29)
    assert since_switch.most_silence(Config(lease=dt.timedelta(seconds=60))) == dt.timedelta(seconds=74)


def test_a_few_failed_runs_are_allowed_and_more_are_named() -> None:
    assert since_switch._of_runs(["a", "b", "a"], 3, 3) == ""
    assert since_switch._of_runs(["b", "a", "b", "a"], 4, 3) == "4 runs have failed since the switch, where 3 may: a, b"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("true", ""),
        ("false", "the guard command has ended with 1"),
        ("sh -c 'exit 7'", "the guard command has ended with 7"),
        ("sh -c 'kill -9 $$'", "the guard command was ended by signal 9"),
    ],
)
def test_a_command_raises_the_alarm_by_its_exit_code(line: str, said: str) -> None:
    assert alarm.raised_by(alarm.arguments(line)) == said


def test_a_command_that_does_not_end_raises_the_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cutover.phases.operations.alarm.COMMAND_TIMEOUT", dt.timedelta(seconds=0.2))
    said = alarm.raised_by([sys.executable, "-c", "import time; time.sleep(60)"])
    assert said == "the guard command has not ended within 0.2 s"


def test_a_command_that_has_gone_meanwhile_raises_the_alarm() -> None:
    assert alarm.raised_by(["/no/such/command"]) == "the guard command cannot be run: No such file or directory"


@pytest.mark.parametrize("line", ["", "no-such-command --at all", "'unbalanced"])
def test_a_command_that_cannot_be_run_is_refused_before_the_switch(line: str) -> None:
    with pytest.raises(ConfigurationError, match="--guard-command"):
        alarm.arguments(line)
