"""What the command writes: a report on stdout, for a person or as JSON, and everything else on stderr, a line each."""

import contextlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, OutputWrapper
from django.core.management.color import Style

from cutover.phases.report import Report, plain
from cutover.visible import visible

MARKS: Final = {True: "\N{CHECK MARK}", False: "\N{BALLOT X}"}
ASCII_MARKS: Final = {True: "ok", False: "NO"}


@dataclass(frozen=True, slots=True)
class Terminal:
    """Both streams of one command. A reader who has gone away, as behind ``| head``, is no error."""

    stdout: OutputWrapper
    stderr: OutputWrapper
    style: Style
    as_json: bool

    @property
    def is_drawn_on(self) -> bool:
        """Whether what can be drawn is: on a terminal that takes colours and more than ASCII, unless told otherwise."""
        return not self.as_json and self.stdout.isatty() and self._marks is not ASCII_MARKS and self.is_coloured

    @property
    def is_coloured(self) -> bool:
        """Whether a terminal is to be drawn on, as far as the operator says."""
        return not (os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or self.style.ERROR("x") == "x")

    def report(self, report: Report, *, clear: bool = False, **drawn: Any) -> bool:
        """Write the report, on a cleared screen if asked for, ``drawn`` as wanted; False when nobody reads it."""
        try:
            text = as_document(report) if self.as_json else self._shown(report, **drawn)
            if clear and not self.as_json and self.stdout.isatty() and os.environ.get("TERM") != "dumb":
                self.stdout.write("\x1b[H\x1b[2J", ending="")
            self.stdout.write(text, ending="" if drawn else "\n")
            self.stdout.flush()
        except BrokenPipeError:
            _redirect_to_nowhere(self.stdout)
            return False
        return True

    def last_word(self, report: Report) -> int:
        """Write the report, and return the exit code: 1 where it cannot be written, as to a full disk."""
        try:
            self.report(report)
        except OSError as exc:
            _redirect_to_nowhere(self.stdout)
            self.say(f"Standard output cannot be written: {exc.strerror or exc}.")
            return report.outcome.exit_code or 1
        return report.outcome.exit_code

    def write(self, codes: str) -> None:
        """Write what a terminal does not show."""
        self.stdout.write(codes, ending="")
        self.stdout.flush()

    def progress(self, line: str) -> None:
        """Write what takes its time; nothing for a program, which wants to read JSON alone."""
        if not self.as_json:
            self._note(f"... {line}", self.style.NOTICE)

    def say(self, line: str) -> None:
        """Write one line in the command's name."""
        self._note(f"cutover: {' '.join(line.split())}")

    def end(self) -> None:
        """Write what is still in the streams' buffers, before the interpreter does."""
        for stream in (self.stdout, self.stderr):
            try:
                stream.flush()
            except BrokenPipeError:
                _redirect_to_nowhere(stream)

    @property
    def _encoding(self) -> str:
        return getattr(self.stdout, "encoding", None) or "utf-8"

    @property
    def _marks(self) -> dict[bool, str]:
        try:
            "".join(MARKS.values()).encode(self._encoding)
        except UnicodeEncodeError:
            return ASCII_MARKS
        return MARKS

    def _shown(self, report: Report, **drawn: Any) -> str:
        if type(report) is Report or not self.is_drawn_on:
            return self._in_lines(report)
        from cutover.observe import screen  # which imports rich: only who looks at a terminal waits for that

        width, height = shutil.get_terminal_size()
        return screen.draw(report, width, height, **drawn)

    def _in_lines(self, report: Report) -> str:
        encoding, marks = self._encoding, self._marks
        lines = []
        for check in report.checks:
            style = self.style.SUCCESS if check.ok else self.style.ERROR
            lines.append(f"{style(marks[check.ok])} {visible(f'{check.name}: {check.detail}')}")
            lines += [f"    -> {visible(check.remedy)}"] if check.remedy and not check.ok else []
        ways = [("Next", report.next_command), ("Undo", report.undo)]
        lines += map(visible, [*report.lines, *(f"{way}: {typed}" for way, typed in ways if typed)])
        return "\n".join(lines).encode(encoding, "replace").decode(encoding)

    def _note(self, line: str, style: Callable[[str], str] | None = None) -> None:
        """Write to stderr. A phase does not stop half-way because nobody reads that any more."""
        try:
            self.stderr.write(visible(line), style)
            self.stderr.flush()
        except BrokenPipeError:
            _redirect_to_nowhere(self.stderr)


def as_document(report: Report) -> str:
    """The same keys for every command, and the command's own data."""
    whole = {
        "command": report.phase,
        "outcome": report.outcome.value,
        "exit_code": report.outcome.exit_code,
        "checks": [plain(check, "name ok detail remedy") for check in report.checks],
        "lines": list(report.lines),
        "next": report.next_command,
        "undo": report.undo,
        "error": None,
    }
    return json.dumps(whole | report.document())


@contextlib.contextmanager
def stdout_kept_free(verbosity: int) -> Iterator[None]:
    """Keep stdout for the report: what modules print on import goes to stderr, events are logged from -v 2 on."""
    logger = logging.getLogger("cutover")
    level = logger.level
    if verbosity < 2:
        logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        logger.setLevel(level)


def reopen_closed(typed: BaseCommand) -> None:
    """Lead to nowhere what was closed before this process began, as by ``>&-``: Python has None in its place."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - for as long as the process lives
            setattr(typed, name, OutputWrapper(getattr(sys, name)))


def _redirect_to_nowhere(stream: Any) -> None:
    """A stream that nobody reads would be an error again when the interpreter ends and flushes it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
