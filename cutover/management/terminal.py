"""What the command writes: a report on stdout, for a person or as JSON, and everything else on stderr, a line each."""

import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

from django.core.management.base import OutputWrapper
from django.core.management.color import Style

from cutover.phases.report import Report, plain

MARKS: Final = {True: "\N{CHECK MARK}", False: "\N{BALLOT X}"}
ASCII_MARKS: Final = {True: "ok", False: "NO"}
CLEAR: Final = "\x1b[H\x1b[2J"


class Terminal:
    """Both streams of one command. A reader who has gone away, as behind ``| head``, is no error."""

    def __init__(self, stdout: OutputWrapper, stderr: OutputWrapper, style: Style, *, as_json: bool) -> None:
        self._stdout = stdout
        self._stderr = stderr
        self._style = style
        self._as_json = as_json

    def report(self, report: Report, *, clear: bool = False) -> bool:
        """Write the report, on a cleared screen if asked for; False when nobody reads it."""
        try:
            if self._as_json:
                self._stdout.write(json.dumps(document(report)))
            else:
                if clear and self._stdout.isatty():
                    self._stdout.write(CLEAR, ending="")
                self._render(report)
            self._stdout.flush()
        except BrokenPipeError:
            _redirect_to_nowhere(self._stdout)
            return False
        return True

    def progress(self, line: str) -> None:
        """Write what takes its time; nothing for a program, which wants to read JSON alone."""
        if not self._as_json:
            self._note(f"... {line}", self._style.NOTICE)

    def say(self, line: str) -> None:
        """Write one line in the command's name."""
        self._note(f"cutover: {' '.join(line.split())}")

    def _render(self, report: Report) -> None:
        wanted = "".join(MARKS.values())
        marks = MARKS if self._writable(wanted) == wanted else ASCII_MARKS
        for check in report.checks:
            style = self._style.SUCCESS if check.ok else self._style.ERROR
            self._line(f"{style(marks[check.ok])} {check.name}: {check.detail}")
            if not check.ok and check.remedy:
                self._line(f"    -> {check.remedy}")
        for line in report.lines:
            self._line(line)
        if report.next_command:
            self._line(f"Next: {report.next_command}")
        if report.undo:
            self._line(f"Undo: {report.undo}")

    def _line(self, line: str) -> None:
        self._stdout.write(self._writable(line))

    def _writable(self, text: str) -> str:
        encoding = getattr(self._stdout, "encoding", None) or "utf-8"
        return text.encode(encoding, "replace").decode(encoding)

    def _note(self, line: str, style: Callable[[str], str] | None = None) -> None:
        """Write to stderr. A phase does not stop half-way because nobody reads that any more."""
        try:
            self._stderr.write(line, style)
            self._stderr.flush()
        except BrokenPipeError:
            _redirect_to_nowhere(self._stderr)


def document(report: Report) -> dict[str, Any]:
    """The JSON document: the same keys for every command, and the command's own data."""
    return {
        "command": report.phase,
        "outcome": report.outcome.value,
        "exit_code": report.outcome.exit_code,
        "checks": [plain(check, "name ok detail remedy") for check in report.checks],
        "lines": list(report.lines),
        "next": report.next_command,
        "undo": report.undo,
        "error": None,
        **report.data,
    }


@contextlib.contextmanager
def stdout_kept_free(verbosity: int) -> Iterator[None]:
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


def _redirect_to_nowhere(stream: Any) -> None:
    """A stream that nobody reads would be an error again when the interpreter ends and flushes it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
