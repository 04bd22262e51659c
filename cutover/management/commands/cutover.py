"""``manage.py cutover <phase>``: parse, run, exit: 0 done, 1 failed, 2 usage, 3 a gate refused, 130 interrupted."""

import datetime as dt
import difflib
import re
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandParser

from cutover import clock, conf
from cutover.errors import ConfigurationError, CutoverError, PhaseFailed
from cutover.management.terminal import Terminal, stdout_kept_free
from cutover.phases import facts
from cutover.phases.context import Context
from cutover.phases.report import Outcome, Report, command
from cutover.types import ProbeRole


def _in(module: str) -> Callable[..., Report]:
    """The function ``run`` of a module, imported by its first call: that fails while django-celery-beat is missing."""

    def run(*given: Any, **options: Any) -> Report:
        report: Report = import_module(f"cutover.{module}").run(*given, **options)
        return report

    return run


def _status(context: Context, *, check: bool, role: str | None = None) -> Report:
    return _in("phases.probe")(context, role=ProbeRole(role)) if role else _in("phases.status")(context, check=check)


INIT: Final = "init"
SENDERS: Final = "only_beat_sends called_by_hand"
PHASES: Final[dict[str, tuple[str, Callable[..., Report], str]]] = {
    INIT: ("all that is to be added to this project, file by file", _in("setup.init"), "write"),
    "plan": ("what each phase would do, entry by entry; changes nothing", _in("phases.plan"), ""),
    "phase1": (
        "preflight: database, Redis, broker, clocks, processes, beats",
        _in("phases.phase1"),
        f"no_code_beat stopped {SENDERS}",
    ),
    "phase2": (
        "import the code schedule as disabled rows; prove they fire alike",
        _in("phases.phase2"),
        "adopt plan shadow",
    ),
    "phase3": (
        "the switch from code to database",
        _in("phases.phase3"),
        f"force accept_edits plan stopped {SENDERS}",
    ),
    "phase4": (
        "prove by the ledger that every slot was sent and run once; close",
        _in("phases.phase4"),
        f"slots wait waive {SENDERS}",
    ),
    "rollback": ("back to the code side, from every phase", _in("phases.rollback"), "force drop_edits"),
    "status": ("who leads, standbys, phase, last slots, what was missed", _status, "check role"),
}
"""Each subcommand: its help, what runs it, and the names of the options that this takes."""


class Command(BaseCommand):
    """The operator's command."""

    help = "Move the periodic tasks from code to the database, and back."
    # None: with the database or Redis away a check would end in a traceback, where the command has a line to say.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """One subcommand for each phase."""
        phases = parser.add_subparsers(dest="phase", metavar="phase", required=True)
        made = {name: phases.add_parser(name, help=said, description=said) for name, (said, *_) in PHASES.items()}

        def add(flag: str, names: str, said: str, **kind: Any) -> None:
            for name in names.split():
                made[name].add_argument(flag, help=said, **(kind or {"action": "store_true"}))

        edits = made["rollback"].add_mutually_exclusive_group()
        edits.add_argument("--keep-edits", action="store_true", help="keep what was edited in the rows (as without it)")
        edits.add_argument("--drop-edits", action="store_true", help="undo what was edited in the rows since phase 3")
        add("--write", INIT, "make the files that do not exist; no other is changed")
        add("--json", " ".join(PHASES), "print one JSON document")
        add("--no-code-beat", "phase1", "nothing has sent the code schedule so far: ask for no beat of it")
        add("--adopt", "phase2", "take over rows of the same names that differ or are enabled")
        shadow = "let a standby compute for so long (90s, 15m, 2h) what it would send, and compare"
        add("--shadow", "phase2", shadow, type=_duration, metavar="TIME")
        add("--plan", "phase2 phase3", "refuse unless this is still the plan", default="", metavar="HASH")
        add("--accept-edits", "phase3", "take rows as they are that were edited since their import")
        stopped = "an unmanaged beat that you have stopped, as status names it; may be repeated"
        add("--stopped", "phase1 phase3", stopped, action="append", default=[], metavar="ORIGIN")
        tasks: dict[str, Any] = {"action": "append", "default": [], "metavar": "TASK"}
        alone = "a task that nothing but a beat sends (all: every other scheduled task); remembered, may be repeated"
        add("--only-beat-sends", "phase1 phase3 phase4", alone, **tasks)
        by_hand = "a scheduled task that people or code send too (all: every other one); remembered, may be repeated"
        add("--called-by-hand", "phase1 phase3 phase4", by_hand, **tasks)
        force = "switch even to a side on which no beat stands by, or one that lacks imported entries"
        add("--force", "phase3 rollback", force)
        add("--slots", "phase4", "how many slots are proof enough (10)", type=_positive)
        seconds = {"type": lambda text: dt.timedelta(seconds=_positive(text)), "metavar": "SECONDS"}
        add("--wait", "phase4", "try again for so long while inconclusive", default=dt.timedelta(0), **seconds)
        waive = "an entry that may stay without a proof, by its name; may be repeated; is recorded"
        add("--waive", "phase4", waive, action="append", default=[], metavar="ENTRY")
        add("--watch", "status", "show it again every second until Ctrl-C")
        add("--check", "status", "exit 1 unless led and nothing overdue")
        role = "with --check: judge this host's own process, in one line, for a platform's probe"
        add("--role", "status", role, choices=[role.value for role in ProbeRole])

    def run_from_argv(self, argv: list[str]) -> None:
        """As Django does it; a misspelt phase is answered with the nearest one."""
        if len(argv) > 2 and not argv[2].startswith("-") and argv[2] not in PHASES:
            close = difflib.get_close_matches(argv[2], PHASES, n=1)
            hint = f"did you mean `{command(close[0])}`?" if close else f"there are {', '.join(PHASES)}."
            self._terminal(as_json=False).say(f"There is no phase {argv[2]!r}; {hint}")
            sys.exit(2)
        try:
            super().run_from_argv(argv)
        finally:
            self._terminal(as_json=False).end()  # argparse writes by itself

    def handle(self, *args: Any, **options: Any) -> None:
        """Run one phase; every error of ours is one line on stderr and an exit code."""
        terminal, context = self._terminal(as_json=options["json"]), None
        try:
            if options.get("role") and not options["check"]:
                raise ConfigurationError("--role goes with --check: it says of whom the check is.")
            with stdout_kept_free(options["verbosity"]):
                _, phase, taken = PHASES[options["phase"]]
                run = partial(phase, **{name: options[name] for name in taken.split() if options[name] is not None})
                if options["phase"] != INIT:  # which comes before the settings are there
                    conf.require_apps()
                    context = Context(conf.load(), terminal.progress)
                    run = partial(run, context)
                report = run()
                while options.get("watch") and terminal.report(report, clear=True):
                    clock.sleep(1.0)
                    report = run()
        except KeyboardInterrupt:
            terminal.say(f"Interrupted. {_summary(context)}")
            sys.exit(0 if options.get("watch") else 130)
        except CutoverError as exc:
            outcome = {ConfigurationError: Outcome.USAGE, PhaseFailed: Outcome.FAILED}.get(type(exc), Outcome.REFUSED)
            report = Report(options["phase"], outcome, data={"error": str(exc)})
            if options["json"]:
                terminal.report(report)
            terminal.say(f"{exc} -> {exc.remedy}" if exc.remedy else str(exc))
            sys.exit(outcome.exit_code)
        if not options.get("watch"):  # that was shown already, and nobody reads any more
            terminal.report(report)
            if report.outcome.exit_code:
                sys.exit(report.outcome.exit_code)

    def _terminal(self, *, as_json: bool) -> Terminal:
        return Terminal(self.stdout, self.stderr, self.style, as_json=as_json)


def _summary(context: Context | None) -> str:
    """One line on how far the cutover has come, for whoever pressed Ctrl-C."""
    try:
        return facts.read(context).in_words() if context is not None else "Nothing was changed."
    except CutoverError as exc:
        return str(exc)


def _duration(text: str) -> dt.timedelta:
    found = re.fullmatch(r"(\d+)([smh]?)", text, re.ASCII)
    seconds = int(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]] if found else 0
    if not 1 <= seconds <= 7 * 24 * 3600:
        raise ArgumentTypeError(f"{text!r} is no time from 1s to a week, such as 90s, 15m or 2h")
    return dt.timedelta(seconds=seconds)


def _positive(text: str) -> int:
    if not re.fullmatch(r"0*[1-9]\d*", text, re.ASCII):
        raise ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)
