"""What a report is written to: files, each whole or not at all, and standard output."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Final

from cutover.errors import PhaseFailed
from cutover.management.terminal import as_document
from cutover.observe.report.compose import PeriodReport
from cutover.phases.report import Report

STDOUT: Final = "-"


def written(report: PeriodReport, html: str | None, json: str | None) -> Report:
    """The report as it is to be printed, once its files are written. Raises PhaseFailed for one that cannot be."""
    told = list(report.lines)
    for file, text in ((html, report.page), (json, lambda: as_document(report) + "\n")):
        if file is not None and file != STDOUT:
            _write(file, text())
            told.append(f"Written   {file}")
    return replace(report, lines=[report.page()] if html == STDOUT else told)


def _write(file: str, text: str) -> None:
    """Through a file beside it, so that nobody ever reads half of one."""
    beside = Path(f"{file}.{os.getpid()}.part")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(file)
    except OSError as exc:
        beside.unlink(missing_ok=True)
        raise PhaseFailed(f"{file} cannot be written: {exc.strerror or exc}.") from exc
