"""``manage.py cutover <phase>``: parse, run, exit: 0 done, 1 failed, 2 usage, 3 a gate refused, 130 interrupted."""

import datetime as dt
import difflib
import gc
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandParser

from cutover import clock, conf
from cutover.errors import ConfigurationError, CutoverError, NobodyLed, PhaseFailed
from cutover.management import given, option_types, phase3_options, usage
from cutover.management.live import LiveLine
from cutover.management.silence import bounded
from cutover.management.terminal import Terminal, reopen_closed, stdout_kept_free
from cutover.phases import facts
from cutover.phases.context import Context
from cutover.phases.evidence.pauses import with_pauses
from cutover.phases.report import Outcome, Report, command
from cutover.types import ProbeRole


def _in(module: str) -> Callable[..., Report]:
    """The function ``run`` of a module, imported by its first call: that fails while django-celery-beat is missing."""

    def run(*given: Any, **options: Any) -> Report:
        report: Report = import_module(f"cutover.{module}").run(*given, **options)
        return report

    return run


def _status(context: Context, *, check: bool, role: str | None = None, entry: str | None = None) -> Report:
    if role:
        return _in("phases.probe")(context, role=ProbeRole(role))
    with bounded(context.alias):
        return _in("observe.status")(context, check=check, entry=entry)


INIT: Final = "init"
REPLAY: Final = "replay"
REPORT: Final = "report"
PLAN: Final = "plan"
SENDERS: Final = "only_beat_sends called_by_hand"
PHASES: Final[dict[str, tuple[str, Callable[..., Report], str]]] = {
    INIT: ("all that is to be added to this project, file by file", _in("setup.init"), "write"),
    PLAN: ("what each phase would do, entry by entry; changes nothing", _in("phases.plan"), "check"),
    "phase1": (
        "preflight: database, Redis, broker, clocks, processes, beats",
        _in("phases.phase1"),
        f"no_code_beat stopped {SENDERS} dry_run",
    ),
    "phase2": (
        "import the code schedule as disabled rows; prove they fire alike",
        _in("phases.phase2"),
        "adopt plan shadow dry_run",
    ),
    "phase3": (
        "the switch from code to database",
        _in("phases.phase3_command"),
        f"force accept_edits plan stopped {SENDERS} dry_run quiet by postpone now call_off "
        "guard_for guard_command guard_failures",
    ),
    "phase4": (
        "prove by the ledger that every slot was sent and run once; close",
        _in("phases.phase4"),
        f"slots wait waive {SENDERS} dry_run",
    ),
    "rollback": ("back to the code side, from every phase", _in("phases.rollback"), "force drop_edits dry_run"),
    "pause": (
        "stop sending, everything or one entry, from this commit on; runs go on",
        _in("phases.pause"),
        "entry length reason",
    ),
    "resume": (
        "send again what was paused; the catch-up rules decide about the meantime",
        _in("phases.resume"),
        "entry",
    ),
    REPLAY: (
        "send slots that were missed, each once, under its own id; the leader sends them",
        _in("phases.replay"),
        "entry since until dry_run",
    ),
    REPORT: (
        "a period for the change ticket: the verdict, a timeline, what stands out",
        _in("observe.report.compose"),
        "since",
    ),
    "status": ("who leads, standbys, phase, and each entry: last, next, what is wrong", _status, "check role entry"),
}
"""Each subcommand: its help, what runs it, and the names of the options that this takes."""


class Command(BaseCommand):
    """The operator's command."""

    help = "Move the periodic tasks from code to the database, and back."
    _is_answered = False
    """Whether a command has come to its report."""
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
        add("--json", " ".join(name for name in PHASES if name != REPORT), "print one JSON document")
        add("--no-code-beat", "phase1", "nothing has sent the code schedule so far: ask for no beat of it")
        add("--adopt", "phase2", "take over rows of the same names that differ or are enabled")
        shadow = "let a standby compute for so long (90s, 15m, 2h) what it would send, and compare"
        add("--shadow", "phase2", shadow, type=option_types.duration, metavar="TIME")
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
        add("--dry-run", "phase1 phase2 phase3 phase4 rollback", "ask every gate and name every step; change nothing")
        phase3_options.add_to(made["phase3"], time=option_types.duration)
        add("--slots", "phase4", "how many slots are proof enough (10)", type=option_types.positive)
        seconds = {"type": lambda text: dt.timedelta(seconds=option_types.positive(text)), "metavar": "SECONDS"}
        add("--wait", "phase4", "try again for so long while inconclusive", default=dt.timedelta(0), **seconds)
        waive = "an entry that may stay without a proof, by its name; may be repeated; is recorded"
        add("--waive", "phase4", waive, action="append", default=[], metavar="ENTRY")
        only = "one entry alone, by its name"
        add("--entry", "pause resume", only, metavar="NAME")
        until: dict[str, Any] = {"dest": "length", "type": option_types.period, "metavar": "TIME"}
        add("--for", "pause", "how long (90s, 2h, 3d), by the database's clock; without it until resume", **until)
        add("--reason", "pause", "why: shown, and written to what is missed for it", default="", metavar="TEXT")
        add("--since", REPORT, "for how long back (12h, 7d; 7d without it)", type=option_types.ago, metavar="TIME")
        made[REPLAY].add_argument("--missed", action="store_true", required=True, help="the slots that were missed")
        add("--entry", REPLAY, "of this entry alone, by its name", metavar="NAME")
        moment: dict[str, Any] = {"type": option_types.moment, "metavar": "TIME"}
        add("--since", REPLAY, "due then or later: how long ago (24h, 7d), or an instant (2026-11-26T10:00)", **moment)
        add("--until", REPLAY, "due then or before, said in the same way", **moment)
        add("--dry-run", REPLAY, "list them, how many, the oldest and the newest; nothing is changed")
        file: dict[str, Any] = {"metavar": "FILE"}
        add("--html", REPORT, "write one page, with all that it needs, to a file; -: to standard output", **file)
        add(
            "--json",
            REPORT,
            "write one JSON document to a file; - or none: to standard output",
            nargs="?",
            const="-",
            **file,
        )
        add("--watch", "status", "show it again every second until q or Ctrl-C; on a terminal with keys to filter")
        add("--entry", "status", "the latest slots of one entry, by its name", metavar="NAME")
        add("--check", "status", "exit 1 unless led and nothing overdue")
        add("--check", PLAN, "exit 0 with nothing left to do, 2 with something; 1 for every error, wrong usage too")
        role = "with --check: judge this host's own process, in one line, for a platform's probe"
        add("--role", "status", role, choices=[role.value for role in ProbeRole])
        usage.in_one_line(parser, made, self._terminal(as_json=False).say)

    def run_from_argv(self, argv: list[str]) -> None:
        """As Django does it; a misspelt phase is answered with the nearest one."""
        reopen_closed(self)
        if len(argv) > 2 and not argv[2].startswith("-") and argv[2] not in PHASES:
            with_next = "".join(argv[2:4])  # `phase 3`
            close = [with_next] if with_next in PHASES else difflib.get_close_matches(argv[2], PHASES, n=1)
            hint = f"did you mean `{command(close[0])}`?" if close else f"there are {', '.join(PHASES)}."
            self._terminal(as_json=False).say(f"There is no phase {argv[2]!r}; {hint}")
            sys.exit(2)
        # What Django and the project have made stays to the end: no collection need go through it, nor the last one.
        gc.freeze()
        try:
            super().run_from_argv(argv)
        except SystemExit as exc:
            # argparse ends wrong usage with 2, which of a checked plan means that there is something to do.
            if exc.code == Outcome.USAGE.exit_code and not self._is_answered and _is_checked_plan(argv):
                sys.exit(Outcome.FAILED.exit_code)
            raise
        finally:
            self._terminal(as_json=False).end()  # argparse writes by itself

    def handle(self, *args: Any, **options: Any) -> None:
        """Run one phase; every error of ours is one line on stderr and an exit code."""
        terminal, context = self._terminal(as_json=options["json"] in (True, "-")), None
        live = LiveLine(terminal)
        try:
            given.judge(options)
            with stdout_kept_free(options["verbosity"]):
                _, phase, taken = PHASES[options["phase"]]
                run = partial(phase, **{name: options[name] for name in taken.split() if options[name] is not None})
                if options["phase"] != INIT:  # which comes before the settings are there
                    conf.require_apps()
                    context = Context(conf.load(), live.progress, live.show)
                    run = partial(run, context)
                report = run()
                if context is not None and options["phase"] not in (REPORT, "status"):
                    report = with_pauses(context, report)
                if options["phase"] == REPORT:
                    report = import_module("cutover.management.files").written(report, options["html"], options["json"])
                if options.get("watch"):
                    self._watch(terminal, report, run)
        except KeyboardInterrupt:
            live.end()
            terminal.say(f"Interrupted. {_summary(context)}")
            sys.exit(0 if options.get("watch") else 130)
        except CutoverError as exc:
            outcomes = {ConfigurationError: Outcome.USAGE, PhaseFailed: Outcome.FAILED, NobodyLed: Outcome.FAILED}
            outcome = outcomes.get(type(exc), Outcome.REFUSED)
            if options["phase"] == PLAN and options["check"]:
                outcome = Outcome.FAILED  # every error ends a checked plan alike
            live.end()
            report = Report(options["phase"], outcome, data={"error": str(exc)})
            if terminal.as_json:
                terminal.report(report)
            terminal.say(f"{exc} -> {exc.remedy}" if exc.remedy else str(exc))
            sys.exit(outcome.exit_code)
        finally:
            live.end()  # also by what nobody expected: a terminal whose cursor is hidden stays so
        self._is_answered = True
        # What is watched was shown already, and nobody reads any more.
        if not options.get("watch") and (code := terminal.last_word(report)):
            sys.exit(code)

    def _watch(self, terminal: Terminal, report: Report, run: Callable[[], Report]) -> None:
        """Show it again every second, until nobody reads it or somebody presses Ctrl-C; with keys on a terminal."""
        if not terminal.is_drawn_on or not sys.stdin or not sys.stdin.isatty():
            while terminal.report(report, clear=True):
                clock.sleep(1.0)
                report = run()
            return
        import_module("cutover.management.watch").watch(
            run, lambda seen, wanted, foot: terminal.report(seen, clear=True, wanted=wanted, foot=foot), terminal.write
        )

    def _terminal(self, *, as_json: bool) -> Terminal:
        return Terminal(self.stdout, self.stderr, self.style, as_json=as_json)


def _is_checked_plan(argv: list[str]) -> bool:
    """Whether this is ``plan --check``, which argparse lets be abbreviated, however wrong it is otherwise."""
    return PLAN in argv and any(len(typed) > 2 and "--check".startswith(typed) for typed in argv)


def _summary(context: Context | None) -> str:
    """One line on how far the cutover has come, for whoever pressed Ctrl-C."""
    try:
        return facts.read(context).in_words() if context is not None else "Nothing was changed."
    except CutoverError as exc:
        return str(exc)
