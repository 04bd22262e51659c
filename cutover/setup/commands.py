"""The lines of a Procfile, and each process as prodserver is to start it. Pure but for reading gunicorn's options."""

import argparse
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePath
from typing import Any, Final

import click
from celery.bin.beat import beat as beat_command
from celery.bin.worker import worker as worker_command


class Kind(StrEnum):
    """What a line starts."""

    WEB = "web"
    WORKER = "worker"
    BEAT = "beat"
    OTHER = "other"


CODE_SCHEDULER: Final = "cutover.schedulers:CodeScheduler"
STOCK_SCHEDULER: Final = "celery.beat:PersistentScheduler"
DATABASE_SCHEDULER: Final = "cutover.schedulers:DatabaseScheduler"
STOCK_OF_ROWS: Final = "django_celery_beat.schedulers:DatabaseScheduler"
_SCHEDULER: Final = re.compile(r"\s(?:-S\s*|--scheduler[=\s]\s*)(\S+)")
SCHEDULE: Final = "schedule"
SCHEDULES: Final = {SCHEDULE, "schedule-filename"}
"""The options of celery that name the schedule file."""
_ENTERED: Final = re.compile(r"cd\s+([^\s;&]+)\s*(?:&&|;)\s")
_OF_CELERY: Final = {
    Kind.WORKER: re.compile(r"\bcelery\s(?:.*\s)?worker(?=[\s'\"]|$)"),
    Kind.BEAT: re.compile(r"\bcelery\s(?:.*\s)?(?:beat|-B|--beat)(?=[\s'\"]|$)"),
}
PID_FILE: Final = "pidfile"
_FILES: Final = {*SCHEDULES, PID_FILE, "logfile", "statedb"}
_ANYWHERE: Final = ("/", "$", "~", "-")
"""How a file is named that is the same from everywhere, or none."""
GUNICORNS_OWN: Final = {"0.0.0.0:$PORT", ":$PORT", "0.0.0.0:${PORT}", ":${PORT}", "0.0.0.0:${PORT:-8000}"}
"""What gunicorn binds to by itself where the environment has PORT."""


@dataclass(frozen=True, slots=True)
class FromEnvironment:
    """An option's value: a variable of the environment, or what it is without one."""

    variable: str
    default: str


@dataclass(frozen=True, slots=True)
class Process:
    """One line: its name, its command, what that starts and with which options; ``strange``: why it cannot be read.

    ``folder``: where it runs, from where the line is typed; empty for there. Files in ``args`` are named from there.
    """

    name: str
    command: str
    kind: Kind
    args: Mapping[str, Any] = field(default_factory=dict)
    served: str = ""
    strange: str = ""
    folder: str = ""

    @property
    def has_beat(self) -> bool:
        """Whether it is a beat, or a worker that brings one, ``-B``."""
        return self.kind is Kind.BEAT or (self.kind is Kind.WORKER and bool(self.args.get("beat")))


def read(procfile: str) -> list[Process]:
    """The processes of a Procfile, in its order."""
    lines = (re.match(r"([\w-]+):\s*(.+)", line) for line in procfile.splitlines())
    return [process(found[1], found[2].strip()) for found in lines if found]


def process(name: str, command: str) -> Process:
    """One line of a Procfile, understood where it starts gunicorn or celery in the plain way."""
    try:
        words = shlex.split(command)
    except ValueError as exc:
        return Process(name, command, Kind.OTHER, strange=str(exc))
    for position, word in enumerate(words):
        program, rest = PurePath(word).name, words[position + 1 :]
        if program == "gunicorn":
            return _gunicorn(name, command, rest)
        if program == "celery":
            entered = _ENTERED.match(command)
            return _celery(name, command, rest, shlex.split(entered[1])[0] if entered else "")
    return Process(name, command, Kind.OTHER)


def unseen(process: Process) -> list[Kind]:
    """What a line seems to start besides what is understood of it: within quotes, or after a first command."""
    seen = {process.kind, *([Kind.BEAT] if process.has_beat else [])}
    return [kind for kind, spelt in _OF_CELERY.items() if kind not in seen and spelt.search(process.command)]


def scheduler_of(process: Process) -> str:
    """The scheduler that a command names; empty where it leaves that to the settings."""
    own = _SCHEDULER.search(process.command)
    return own[1] if own else ""


def with_scheduler(process: Process, scheduler: str = "", stock: str = STOCK_SCHEDULER) -> str:
    """The command of a process that has a beat, with this scheduler; else with its own, or ``stock`` where it has none.

    What a command names goes before the settings.
    """
    return f"{_SCHEDULER.sub('', process.command)} --scheduler {scheduler or scheduler_of(process) or stock}"


def _celery(name: str, command: str, words: Sequence[str], entered: str) -> Process:
    for kind, known in ((Kind.WORKER, worker_command), (Kind.BEAT, beat_command)):
        if known.name in words:
            try:
                args = _options(known, words[words.index(known.name) + 1 :])
            except click.ClickException as exc:
                return Process(name, command, kind, strange=exc.format_message().rstrip("."))
            if kind is Kind.BEAT:
                args.pop("scheduler", None)
            elif args.get("beat"):
                args["scheduler"] = DATABASE_SCHEDULER
            folder = _folder(words[: words.index(known.name)], entered)
            args = {name: from_folder(folder, value) if name in _FILES else value for name, value in args.items()}
            return Process(name, command, kind, args, folder=folder)
    return Process(name, command, Kind.OTHER)


def _folder(before: Sequence[str], entered: str) -> str:
    """Where celery runs: its own ``--workdir``, which stands before the command's name, from where the shell is."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--workdir", default="")
    return from_folder(entered, parser.parse_known_args(before)[0].workdir) or entered


def from_folder(folder: str, file: str) -> str:
    """The file as it is named outside of the folder from which it is named so."""
    if not folder or not file or file.startswith(_ANYWHERE):
        return file
    return os.path.normpath(PurePath(folder, file))


def _options(command: click.Command, words: Sequence[str]) -> dict[str, Any]:
    """The options as they were typed, by their long names."""
    values, rest, _ = command.make_parser(click.Context(command)).parse_args(list(words))
    if rest:
        raise click.UsageError(f"what {' '.join(rest)} is for cannot be seen")
    long = {p.name: next((o[2:] for o in p.opts if o.startswith("--")), p.name) for p in command.params}
    return {str(long[name]): value for name, value in values.items()}


def _gunicorn(name: str, command: str, words: Sequence[str]) -> Process:
    try:
        from gunicorn.config import KNOWN_SETTINGS, Config

        given = vars(Config().parser().parse_args(list(words)))
    except ImportError:
        return Process(name, command, Kind.WEB, strange="gunicorn is not installed here")
    except SystemExit:  # of argparse, which has said why on stderr
        return Process(name, command, Kind.WEB, strange="its options cannot be read")
    long = {s.name: next(o[2:] for o in s.cli if o.startswith("--")) for s in KNOWN_SETTINGS if s.cli}
    args = {long[key]: value for key, value in given.items() if value is not None and key in long}
    if set(bound := args.get("bind", [])) <= GUNICORNS_OWN:
        args.pop("bind", None)
    elif len(bound) == 1:
        args["bind"] = bound[0]
    return Process(name, command, Kind.WEB, args, served=" ".join(given["args"]))
