"""What a command returns: its checks, lines for a person, data for a program, the next command and the way back."""

import datetime as dt
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ParamSpec

from cutover.errors import ConfigurationError, CutoverError

_P = ParamSpec("_P")


class Outcome(StrEnum):
    """How a command ended. ``already`` is a finished phase run again: nothing was changed.

    ``changes`` is a plan that was checked and has something left to do.
    """

    DONE = "done"
    ALREADY = "already"
    FAILED = "failed"
    REFUSED = "refused"
    INCONCLUSIVE = "inconclusive"
    USAGE = "usage"
    CHANGES = "changes"

    @property
    def exit_code(self) -> int:
        """0 done, 1 failed, 2 wrong usage or settings, 3 a gate refused or too little evidence.

        Of a plan that is checked 2 is changes, and the command ends wrong usage with 1.
        """
        codes = {Outcome.DONE: 0, Outcome.ALREADY: 0, Outcome.FAILED: 1, Outcome.USAGE: 2, Outcome.CHANGES: 2}
        return codes.get(self, 3)


@dataclass(frozen=True, slots=True)
class Check:
    """One gate's finding; ``remedy``: what to do where it fails; ``assumed``: it holds, as nobody could be asked."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    assumed: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """A step by its name in the journal, and what it does, for whoever looks first."""

    step: str
    does: str


@dataclass(frozen=True, slots=True)
class Report:
    """The result of one command. ``data`` is plain JSON with stable keys."""

    phase: str
    outcome: Outcome
    checks: Sequence[Check] = ()
    lines: Sequence[str] = ()
    next_command: str = ""
    undo: str = ""
    data: dict[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """``data`` as ``--json`` has it: with what is worked out for that alone."""
        return self.data


def command(name: str) -> str:
    """A subcommand as it is typed."""
    return f"python manage.py cutover {name}"


def plain(record: object, names: str) -> dict[str, Any]:
    """These fields of a record as JSON has them: instants in ISO 8601; our enums are strings."""
    found = {name: getattr(record, name) for name in names.split()}
    return {name: value.isoformat() if isinstance(value, dt.datetime) else value for name, value in found.items()}


def gate(name: str) -> Callable[[Callable[_P, Check]], Callable[_P, Check]]:
    """Turns an error of ours that a gate raises into its finding, under this name."""

    def decorate(ask: Callable[_P, Check]) -> Callable[_P, Check]:
        @functools.wraps(ask)
        def asked(*args: _P.args, **kwargs: _P.kwargs) -> Check:
            try:
                return ask(*args, **kwargs)
            except CutoverError as exc:
                remedy = "fix the setting" if isinstance(exc, ConfigurationError) else exc.remedy
                return Check(name, False, str(exc), remedy)

        return asked

    return decorate


def already(
    phase: str, now: int, following: str, checks: Sequence[Check] = (), what: str = "Nothing was changed."
) -> Report:
    """A phase was done before; ``now``: the phase that the cutover has come to since, ``following``: what goes on."""
    lines = [f"Phase {phase[-1]} is done already (phase {now} now). {what}"]
    return Report(phase, Outcome.ALREADY, checks, lines, command(following), command("rollback"))


def dry_run_report(phase: str, checks: Sequence[Check], steps: Sequence[Step], lines: Sequence[str] = ()) -> Report:
    """Every gate holds, and the command has gone through its steps and taken none."""
    numbered = [f"  {number}. {one.step}: {one.does}" for number, one in enumerate(steps, start=1)]
    said = [*lines, "Every gate holds. Nothing was changed (--dry-run); these steps would be taken:", *numbered]
    data = {"steps": [plain(one, "step does") for one in steps]}
    return Report(phase, Outcome.DONE, checks, said, command(phase), data=data)


def refused(phase: str, checks: Sequence[Check], lines: Sequence[str] = (), next_command: str = "") -> Report:
    """A gate does not hold, and nothing was changed."""
    return Report(phase, Outcome.REFUSED, checks, [*lines, "Nothing was changed."], next_command or command(phase))


def all_hold(checks: Sequence[Check]) -> bool:
    """Whether every gate holds."""
    return all(check.ok for check in checks)
