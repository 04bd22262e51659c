"""The operator's own command, which may raise the alarm while a switch is watched."""

import datetime as dt
import os
import shlex
import shutil
import subprocess
import sys
from typing import Final

from cutover.errors import ConfigurationError
from cutover.phases.wording import span

COMMAND_EVERY: Final = dt.timedelta(seconds=10)
"""How often the operator's command is run, its own time not counted."""
COMMAND_TIMEOUT: Final = dt.timedelta(seconds=30)
"""For how long one run of it may take."""


def arguments(line: str) -> list[str]:
    """A command as it is run, without a shell. Raises ConfigurationError where it cannot be run."""
    try:
        parts = shlex.split(line)
    except ValueError as exc:
        raise ConfigurationError(f"--guard-command {line!r} cannot be read: {exc}.") from exc
    if not parts or shutil.which(parts[0]) is None:
        raise ConfigurationError(f"--guard-command {line!r}: there is no such command; of a shell write sh -c '...'.")
    return parts


def raised_by(parts: list[str]) -> str:
    """Run the operator's command: why it raises the alarm; empty where it ends with 0."""
    try:
        # Its output is for the operator; stdout is for the report.
        done = subprocess.run(  # noqa: S603 - as the operator has typed it
            parts,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno() if _has_stderr() else subprocess.DEVNULL,
            timeout=COMMAND_TIMEOUT.total_seconds(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"the guard command has not ended within {span(COMMAND_TIMEOUT)}"
    except OSError as exc:
        return f"the guard command cannot be run: {os.strerror(exc.errno or 0)}"
    if done.returncode < 0:
        return f"the guard command was ended by signal {-done.returncode}"
    return f"the guard command has ended with {done.returncode}" if done.returncode else ""


def _has_stderr() -> bool:
    try:
        return sys.stderr.fileno() >= 0
    except (AttributeError, OSError, ValueError):
        return False
