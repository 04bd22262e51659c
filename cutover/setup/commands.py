"""The lines of a Procfile, and each process as prodserver is to start it. Pure but for reading gunicorn's options."""

import argparse
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import PurePath
from typing import Any, Final, NoReturn

import click
from celery.bin.beat import beat as beat_command
from celery.bin.celery import celery as celery_command
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
_SCHEDULER: Final = {
    Kind.BEAT: re.compile(r"\s(?:-S\s*|--scheduler[=\s]\s*)(\S+)"),
    Kind.WORKER: re.compile(r"\s--scheduler[=\s]\s*(\S+)"),  # its -S names the file of its state
}
SCHEDULE: Final = "schedule"
SCHEDULES: Final = {SCHEDULE, "schedule-filename"}
"""The options of celery that name the schedule file."""
_ENTERED: Final = re.compile(r"cd\s+([^\s;&]+)\s*(?:&&|;)\s+")
_SHELLS_OWN: Final = re.compile(r"\s*(?:\s\d*[<>]|[|;&])")
"""Where a program's own words end: at a redirection, a pipe, or another command."""
_OF_CELERY: Final = {
    Kind.WORKER: re.compile(r"\bcelery\s(?:.*\s)?worker(?=[\s'\";&|)]|$)"),
    Kind.BEAT: re.compile(r"\bcelery\s(?:.*\s)?(?:beat|-B|--beat)(?=[\s'\";&|)]|$)"),
}
_RUNNERS: Final = {"hatch", "pdm", "pipenv", "pixi", "poetry", "rye", "uv"}
"""Programs whose ``run`` starts another one in the project's environment."""
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
    ``python``: how a Python is started in the place of its program, after all that the line has before that.
    """

    name: str
    command: str
    kind: Kind
    args: Mapping[str, Any] = field(default_factory=dict)
    served: str = ""
    strange: str = ""
    folder: str = ""
    python: str = "python"
    app: str = ""
    """What celery's ``-A`` names."""

    @property
    def has_beat(self) -> bool:
        """Whether it is a beat, or a worker that brings one, ``-B``."""
        return self.kind is Kind.BEAT or (self.kind is Kind.WORKER and bool(self.args.get("beat")))

    @property
    def interpreter(self) -> list[str]:
        """The words that start a Python of its environment without a shell, as a platform's check has to."""
        words = _words(self.python) or []
        at = next((n for n in reversed(range(len(words))) if PurePath(words[n]).name.startswith("python")), None)
        if at is None:
            return ["python"]
        runs = (n for n in reversed(range(at)) if PurePath(words[n]).name in _RUNNERS and words[n + 1] == "run")
        found = words[next(runs, at) : at + 1]
        if any(word in ("&&", "||") or _SHELLS_OWN.search(f" {word}") or word.endswith(";") for word in found):
            found = words[at : at + 1]
        return found if not any("$" in word or word.startswith("~") for word in found) else ["python"]


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
    entered = _ENTERED.match(command)
    for position in range(len(shlex.split(entered[0])) if entered else 0, len(words)):
        program, rest = PurePath(words[position]).name, words[position + 1 :]
        if program == "gunicorn":
            return replace(_gunicorn(name, command, rest), python=_python(command, words, position))
        if program == "celery":
            found = _celery(name, command, rest, shlex.split(entered[1])[0] if entered else "")
            return replace(found, python=_python(command, words, position))
    return Process(name, command, Kind.OTHER)


def _python(command: str, words: Sequence[str], position: int) -> str:
    """How a Python is started in the place of the program at ``position``, from where the line is typed.

    What stands before the program stays as it is written: variables, a wrapper, commands that come first.
    """
    program = words[position]
    starts = [found.start() for found in re.finditer(re.escape(program), command)]
    start = next((start for start in starts if _words(command[:start]) == [*words[:position]]), 0)
    entered = _ENTERED.match(command)
    before = command[entered.end() if entered else 0 : start]
    if entered and (first := re.match(r"(.*\S)(\s*(?:&&|;)\s.*)", before)):
        before = f"({entered[0]}{first[1]}){first[2]}"
    if words[position - 1 : position] == ["-m"]:
        return before.rstrip().removesuffix("-m").rstrip()
    return f"{before}{PurePath(program).with_name('python')}"


def _words(text: str) -> list[str] | None:
    """The words of a line as far as it goes; None within quotes."""
    try:
        return shlex.split(text)
    except ValueError:
        return None


def beside(interpreter: Sequence[str], program: str) -> str:
    """The command of a program that is installed where this Python is."""
    return shlex.join([*interpreter[:-1], str(PurePath(interpreter[-1]).with_name(program))])


def interpreter_of(processes: Sequence[Process]) -> list[str]:
    """How a Python of the project's is started, as the first of these lines that is understood has it."""
    return next((one.interpreter for one in processes if one.kind is not Kind.OTHER), ["python"])


def unseen(process: Process) -> list[Kind]:
    """What a line seems to start besides what is understood of it: within quotes, or after a first command."""
    if process.kind in _OF_CELERY and not process.strange:
        return []  # each of its words is understood; an app may be called `worker`
    seen = {process.kind, *([Kind.BEAT] if process.has_beat else [])}
    return [kind for kind, spelt in _OF_CELERY.items() if kind not in seen and spelt.search(process.command)]


def scheduler_of(process: Process) -> str:
    """The scheduler that a command names; empty where it leaves that to the settings."""
    own = _SCHEDULER[process.kind].search(process.command)
    return own[1].strip("'\"") if own else ""


def with_scheduler(process: Process, scheduler: str = "", stock: str = STOCK_SCHEDULER) -> str:
    """The command of a process that has a beat, with this scheduler; else with its own, or ``stock`` where it has none.

    What a command names goes before the settings.
    """
    command = _SCHEDULER[process.kind].sub("", process.command)
    begun = _OF_CELERY[process.kind].search(command)
    ends = (found.start() for found in _SHELLS_OWN.finditer(command, begun.end() if begun else 0))
    end = next((end for end in ends if _words(command[:end]) is not None), len(command))
    return f"{command[:end]} --scheduler {scheduler or scheduler_of(process) or stock}{command[end:]}"


def kept(process: Process, scheduler: str) -> Process:
    """A line that is to stay as it is, whatever the settings are to say of the scheduler that its beat has now."""
    stock = STOCK_SCHEDULER if scheduler.startswith("cutover.") else scheduler
    command = with_scheduler(process, stock=stock) if process.has_beat else process.command
    return replace(process, kind=Kind.OTHER, command=command)


def _celery(name: str, command: str, words: Sequence[str], entered: str) -> Process:
    at, app = _of_its_command(words)
    for kind, known in ((Kind.WORKER, worker_command), (Kind.BEAT, beat_command)):
        if words[at : at + 1] == [known.name]:
            try:
                args = _options(known, words[at + 1 :])
            except click.ClickException as exc:
                return Process(name, command, kind, strange=exc.format_message().rstrip("."), app=app)
            if kind is Kind.BEAT:
                args.pop("scheduler", None)
            elif args.get("beat"):
                args["scheduler"] = DATABASE_SCHEDULER
            folder = _folder(words[:at], entered)
            args = {name: from_folder(folder, value) if name in _FILES else value for name, value in args.items()}
            return Process(name, command, kind, args, folder=folder, app=app)
    return Process(name, command, Kind.OTHER)


def _of_its_command(words: Sequence[str]) -> tuple[int, str]:
    """Where the name of celery's command stands, after celery's own options, and the app among these.

    An app may have a command's name, too.
    """
    try:
        given, rest, _ = celery_command.make_parser(click.Context(celery_command)).parse_args([*words])
    except click.ClickException:
        return next((at for at, word in enumerate(words) if word in (worker_command.name, beat_command.name)), 0), ""
    return len(words) - len(rest), str(given.get("app") or "")


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


def _refuse(message: str) -> NoReturn:
    """Instead of argparse, which would print its usage, of many lines, and end."""
    raise click.UsageError(message)


def _gunicorn(name: str, command: str, words: Sequence[str]) -> Process:
    try:
        from gunicorn.config import KNOWN_SETTINGS, Config

        parser = Config().parser()
        parser.error = _refuse
        given = vars(parser.parse_args(list(words)))
    except ImportError:
        return Process(name, command, Kind.WEB, strange="gunicorn is not installed here")
    except click.UsageError as exc:
        return Process(name, command, Kind.WEB, strange=f"its options cannot be read: {exc.message}")
    long = {s.name: next(o[2:] for o in s.cli if o.startswith("--")) for s in KNOWN_SETTINGS if s.cli}
    args = {long[key]: value for key, value in given.items() if value is not None and key in long}
    if set(bound := args.get("bind", [])) <= GUNICORNS_OWN:
        args.pop("bind", None)
    elif len(bound) == 1:
        args["bind"] = bound[0]
    return Process(name, command, Kind.WEB, args, served=" ".join(given["args"]))
