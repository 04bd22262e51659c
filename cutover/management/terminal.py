"""What the command writes: a report on stdout, for a person or as JSON, and everything else on stderr, a line each."""

import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from django.core.management.base import OutputWrapper
from django.core.management.color import Style

from cutover.phases.report import Report, plain

MARKS: Final = {True: "\N{CHECK MARK}", False: "\N{BALLOT X}"}
ASCII_MARKS: Final = {True: "ok", False: "NO"}


@dataclass(frozen=True, slots=True)
class Terminal:
    """Both streams of one command. A reader who has gone away, as behind ``| head``, is no error."""

    stdout: OutputWrapper
    stderr: OutputWrapper
    style: Style
    as_json: bool

    def report(self, report: Report, *, clear: bool = False) -> bool:
        """Write the report, on a cleared screen if asked for; False when nobody reads it."""
        try:
            if clear and not self.as_json and self.stdout.isatty():
                self.stdout.write("\x1b[H\x1b[2J", ending="")
            self.stdout.write(_document(report) if self.as_json else self._in_lines(report))
            self.stdout.flush()
        except BrokenPipeError:
            _redirect_to_nowhere(self.stdout)
            return False
        return True

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

    def _in_lines(self, report: Report) -> str:
        encoding = getattr(self.stdout, "encoding", None) or "utf-8"
        marks = MARKS
        try:
            "".join(MARKS.values()).encode(encoding)
        except UnicodeEncodeError:
            marks = ASCII_MARKS
        lines = []
        for check in report.checks:
            style = self.style.SUCCESS if check.ok else self.style.ERROR
            lines.append(f"{style(marks[check.ok])} {check.name}: {check.detail}")
            lines += [f"    -> {check.remedy}"] if check.remedy and not check.ok else []
        ways = [("Next", report.next_command), ("Undo", report.undo)]
        lines += [*report.lines, *(f"{way}: {typed}" for way, typed in ways if typed)]
        return "\n".join(lines).encode(encoding, "replace").decode(encoding)

    def _note(self, line: str, style: Callable[[str], str] | None = None) -> None:
        """Write to stderr. A phase does not stop half-way because nobody reads that any more."""
        try:
            self.stderr.write(line, style)
            self.stderr.flush()
        except BrokenPipeError:
            _redirect_to_nowhere(self.stderr)


def _document(report: Report) -> str:
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
    return json.dumps(whole | report.data)


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


def _redirect_to_nowhere(stream: Any) -> None:
    """A stream that nobody reads would be an error again when the interpreter ends and flushes it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
