"""``manage.py cutover <phase>``: parse, render, exit code; what is done is done in ``cutover.phases``.

Exit codes: 0 done, 1 failed, 2 usage, 3 a gate refused, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import difflib
import json
import logging
import os
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandParser

from cutover import clock, conf
from cutover.errors import ConfigurationError, CutoverError, PhaseFailed
from cutover.phases import facts, phase1, phase2, phase3, phase4, plan, probe, rollback, status
from cutover.phases.context import Context
from cutover.phases.report import Outcome, Report, command

PHASES: Final[dict[str, str]] = {
    "plan": "what each phase would do, entry by entry; changes nothing",
    "phase1": "preflight: database, Redis, broker, clocks, processes, beats",
    "phase2": "import the code schedule as disabled rows and prove that they fire alike",
    "phase3": "the switch from code to database",
    "phase4": "prove by the ledger that every slot was sent and run once; close the cutover",
    "rollback": "back to the code side, from every phase",
    "status": "who leads, standbys, phase, last slots, what was missed",
}
MARKS: Final = {True: "\N{CHECK MARK}", False: "\N{BALLOT X}"}
ASCII_MARKS: Final = {True: "ok", False: "NO"}
INTERRUPTED: Final = 130
REFUSED: Final = 3


class Command(BaseCommand):
    """The operator's command."""

    help = "Move the periodic tasks from code to the database, and back."
    # None: with the database or Redis away a check would end in a traceback, where the command has a line to say.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """One subcommand for each phase."""
        phases = parser.add_subparsers(dest="phase", metavar="phase", required=True)
        made = {name: phases.add_parser(name, help=said, description=said) for name, said in PHASES.items()}
        for sub in made.values():
            sub.add_argument("--json", action="store_true", help="print one JSON document")
        made["phase1"].add_argument(
            "--no-code-beat",
            action="store_true",
            help="nothing has sent the code schedule so far: ask for no beat of it",
        )
        made["phase2"].add_argument(
            "--adopt", action="store_true", help="take over rows of the same names that differ or are enabled"
        )
        made["phase2"].add_argument(
            "--shadow",
            type=_duration,
            metavar="TIME",
            help="let a standby compute for so long (90s, 15m, 2h) what it would send, and compare",
        )
        for name in ("phase2", "phase3"):
            made[name].add_argument("--plan", default="", metavar="HASH", help="refuse unless this is still the plan")
        made["phase3"].add_argument(
            "--accept-edits", action="store_true", help="take rows as they are that were edited since their import"
        )
        for name in ("phase1", "phase3"):
            made[name].add_argument(
                "--stopped",
                action="append",
                default=[],
                metavar="ORIGIN",
                help="an unmanaged beat that you have stopped, as status names it; may be repeated",
            )
        edits = made["rollback"].add_mutually_exclusive_group()
        edits.add_argument("--keep-edits", action="store_true", help="keep what was edited in the rows (as without it)")
        edits.add_argument("--drop-edits", action="store_true", help="undo what was edited in the rows since phase 3")
        for name in ("phase3", "rollback"):
            made[name].add_argument(
                "--force",
                action="store_true",
                help="switch even to a side on which no beat stands by, or one that lacks imported entries",
            )
        made["phase4"].add_argument(
            "--slots", type=_positive, default=phase4.LEAST_SLOTS, help="how many slots are proof enough (10)"
        )
        made["phase4"].add_argument(
            "--wait",
            type=_seconds,
            metavar="SECONDS",
            default=dt.timedelta(0),
            help="try again for so long while inconclusive",
        )
        made["status"].add_argument("--watch", action="store_true", help="show it again every second until Ctrl-C")
        made["status"].add_argument("--check", action="store_true", help="exit 1 unless led and nothing overdue")
        made["status"].add_argument(
            "--role",
            choices=[role.value for role in probe.Role],
            help="with --check: judge this host's own process, in one line, for a platform's probe",
        )

    def run_from_argv(self, argv: list[str]) -> None:
        """As Django does it; a misspelt phase is answered with the nearest one."""
        if len(argv) > 2 and not argv[2].startswith("-") and argv[2] not in PHASES:
            close = difflib.get_close_matches(argv[2], PHASES, n=1)
            hint = f"did you mean `{command(close[0])}`?" if close else f"there are {', '.join(PHASES)}."
            self._say(f"There is no phase {argv[2]!r}; {hint}")
            sys.exit(2)
        super().run_from_argv(argv)

    def handle(self, *args: Any, **options: Any) -> None:
        """Run one phase; every error of ours is one line on stderr and an exit code."""
        name, as_json = options["phase"], options["json"]
        context: Context | None = None
        try:
            if options.get("role") and not options["check"]:
                raise ConfigurationError("--role goes with --check: it says of whom the check is.")
            with _stdout_kept_free(options["verbosity"]):
                context = Context(conf.load(), self._quiet if as_json else self._progress)
                if name == "status" and options["watch"]:
                    self._watch(context, options)
                    return
                report = _run(name, context, options)
        except KeyboardInterrupt:
            self._say(f"Interrupted. {_summary(context)}")
            sys.exit(0 if options.get("watch") else INTERRUPTED)
        except CutoverError as exc:
            code = _exit_code(exc)
            if as_json:
                self._write_json({"command": name, "outcome": _outcome(code), "exit_code": code, "error": str(exc)})
            self._say(f"{exc} -> {exc.remedy}" if exc.remedy else str(exc))
            sys.exit(code)
        self._print(report, as_json=as_json)
        if report.outcome.exit_code:
            sys.exit(report.outcome.exit_code)

    def _watch(self, context: Context, options: dict[str, Any]) -> None:
        while True:
            report = _status(context, options)
            if self.stdout.isatty() and not options["json"]:
                self.stdout.write("\x1b[H\x1b[2J", ending="")
            if not self._print(report, as_json=options["json"]):
                return
            clock.sleep(1.0)

    def _print(self, report: Report, *, as_json: bool) -> bool:
        """Write the report; False when nobody reads any more, as behind ``| head``."""
        try:
            if as_json:
                self._write_json(_document(report))
            else:
                self._render(report)
            self.stdout.flush()
        except BrokenPipeError:
            _hang_up(self.stdout)
            return False
        return True

    def _render(self, report: Report) -> None:
        marks = MARKS if _can_say(self.stdout, "".join(MARKS.values())) else ASCII_MARKS
        for check in report.checks:
            style = self.style.SUCCESS if check.ok else self.style.ERROR
            self._out(f"{style(marks[check.ok])} {check.name}: {check.detail}")
            if not check.ok and check.remedy:
                self._out(f"    -> {check.remedy}")
        for line in report.lines:
            self._out(line)
        if report.next_command:
            self._out(f"Next: {report.next_command}")
        if report.undo:
            self._out(f"Undo: {report.undo}")

    def _out(self, line: str) -> None:
        encoding = getattr(self.stdout, "encoding", None) or "utf-8"
        self.stdout.write(line.encode(encoding, "replace").decode(encoding))

    def _write_json(self, document: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(document))

    def _progress(self, line: str) -> None:
        self._note(f"... {line}", self.style.NOTICE)

    def _quiet(self, line: str) -> None:
        """JSON is all that a program wants to read."""

    def _say(self, line: str) -> None:
        self._note(f"cutover: {' '.join(line.split())}")

    def _note(self, line: str, style: Callable[[str], str] | None = None) -> None:
        """Write to stderr. A phase does not stop half-way because nobody reads that any more."""
        try:
            self.stderr.write(line, style)
            self.stderr.flush()
        except BrokenPipeError:
            _hang_up(self.stderr)


def _run(name: str, context: Context, options: dict[str, Any]) -> Report:
    def some(*names: str) -> dict[str, Any]:
        return {name: options[name] for name in names}

    runs: dict[str, Callable[[], Report]] = {
        "plan": lambda: plan.run(context),
        "phase1": lambda: phase1.run(context, **some("no_code_beat", "stopped")),
        "phase2": lambda: phase2.run(context, **some("adopt", "plan", "shadow")),
        "phase3": lambda: phase3.run(context, **some("force", "accept_edits", "plan", "stopped")),
        "phase4": lambda: phase4.run(context, **some("slots", "wait")),
        "rollback": lambda: rollback.run(context, **some("force", "drop_edits")),
        "status": lambda: _status(context, options),
    }
    return runs[name]()


def _status(context: Context, options: dict[str, Any]) -> Report:
    return (
        probe.run(context, probe.Role(options["role"]))
        if options["role"]
        else status.run(context, check=options["check"])
    )


def _document(report: Report) -> dict[str, Any]:
    return {
        "command": report.phase,
        "outcome": report.outcome.value,
        "exit_code": report.outcome.exit_code,
        "checks": [{"name": c.name, "ok": c.ok, "detail": c.detail, "remedy": c.remedy} for c in report.checks],
        "lines": list(report.lines),
        "next": report.next_command,
        "undo": report.undo,
        "error": None,
        **report.data,
    }


def _summary(context: Context | None) -> str:
    """One line on how far the cutover has come, for whoever pressed Ctrl-C."""
    try:
        return facts.read(context).in_words() if context is not None else "Nothing was changed."
    except CutoverError as exc:
        return str(exc)


def _exit_code(exc: CutoverError) -> int:
    if isinstance(exc, ConfigurationError):
        return 2
    return Outcome.FAILED.exit_code if isinstance(exc, PhaseFailed) else REFUSED


def _outcome(code: int) -> str:
    return {1: Outcome.FAILED.value, 2: "usage"}.get(code, Outcome.REFUSED.value)


def _duration(text: str) -> dt.timedelta:
    units = {"s": 1, "m": 60, "h": 3600}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    seconds = _number(number) * units[unit]
    if not 1 <= seconds <= 7 * 24 * 3600:
        raise ArgumentTypeError(f"{text!r} is no time from 1s to a week, such as 90s, 15m or 2h")
    return dt.timedelta(seconds=seconds)


def _seconds(text: str) -> dt.timedelta:
    return dt.timedelta(seconds=_positive(text))


def _positive(text: str) -> int:
    number = _number(text)
    if number < 1:
        raise ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return number


def _number(text: str) -> int:
    """A whole number, or 0 for what is none."""
    return int(text) if text.isascii() and text.isdigit() else 0


def _hang_up(stream: Any) -> None:
    """Let a stream that nobody reads lead nowhere: its buffer would be an error again when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _can_say(stream: Any, text: str) -> bool:
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


@contextlib.contextmanager
def _stdout_kept_free(verbosity: int) -> Iterator[None]:
    """Keep stdout for the report: what modules print while imported goes to stderr, events are logged from -v 2 on.

    What was done is in the journal and in the report; log lines between them help nobody at a terminal.
    """
    logger = logging.getLogger("cutover")
    level = logger.level
    if verbosity < 2:
        logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        logger.setLevel(level)
