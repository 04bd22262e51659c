"""What a report is written to: files, each whole or not at all, and standard output."""

from dataclasses import replace
from pathlib import Path

from cutover import whole_file
from cutover.errors import PhaseFailed
from cutover.management.given import STDOUT
from cutover.management.terminal import as_document
from cutover.observe.report.compose import PeriodReport
from cutover.phases.report import Report


def written(report: PeriodReport, html: str | None, json: str | None) -> Report:
    """The report as it is to be printed, once its files are written. Raises PhaseFailed for one that cannot be."""
    told = list(report.lines)
    for file, text in ((html, report.page), (json, lambda: as_document(report) + "\n")):
        if file is not None and file != STDOUT:
            _write(file, text())
            told.append(f"Written   {file}")
    return replace(report, lines=report.page().split("\n") if html == STDOUT else told)


def _write(file: str, text: str) -> None:
    try:
        whole_file.write(Path(file), text)
    except OSError as exc:
        raise PhaseFailed(f"{file} cannot be written: {exc.strerror or exc}.") from exc
