"""Pure: the lines of settings that a project lacks; what cannot be known stands there as a comment."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cutover.setup.commands import FromEnvironment, Kind, Process

APPS: Final = ("django_celery_beat", "django_prodserver", "cutover")
FILENAME: Final = "CELERY_BEAT_SCHEDULE_FILENAME"
SCHEDULE_FILE: Final = "celerybeat-schedule"
"""The environment variable that says where celery's schedule file is; the runbooks set it."""
BACKENDS: Final = {Kind.WEB: "Gunicorn", Kind.WORKER: "CeleryWorker", Kind.BEAT: "DatabaseBeat"}
OF_ROWS: Final = (
    "# The rows send here already, so no release has Procfile.code-side: it is Procfile.guarded-workers, then",
    "# Procfile.both-sides. Once its beat stands by, stop the old one and type `cutover phase1 --no-code-beat`,",
    "# `phase2` (with --adopt where the code has entries, too) and `phase3`: from then on they send under the lease,",
    "# and what has fallen due meanwhile is caught up. `rollback` goes to the code's entries alone.",
)
LEGACY: Final = "legacy-beat"


@dataclass(frozen=True, slots=True)
class Names:
    """How the settings that are added to or read are written where the block goes; empty: not to be had there."""

    installed_apps: str
    cutover: str = ""
    processes: str = ""
    needs_os: bool = True


@dataclass(frozen=True, slots=True)
class CelerySettings:
    """The two of celery's settings that matter here, by the names that this project's app reads from the same file.

    Empty names: the app is configured elsewhere. ``scheduler`` is what the app is to have, empty where it has one under
    the lease; ``sends_rows``: the rows are sent already.
    """

    scheduler_name: str
    filename_name: str
    scheduler: str
    has_filename: bool
    broker: Mapping[str, str] = field(default_factory=dict)
    """A setting for the broker, where there is none at all yet, and its value."""
    sends_rows: bool = False


@dataclass(frozen=True, slots=True)
class Lacks:
    """What of ours is not there yet. ``cutover``: names and the expressions of their values."""

    apps: Sequence[str]
    cutover: Mapping[str, str]
    processes: Sequence[Process]
    has_legacy_beat: bool
    notes: Sequence[str] = ()
    of_code: str = ""
    """The scheduler of the code side, where it is one of the project's own."""


def block(names: Names, celery: CelerySettings, lacks: Lacks, app: str) -> list[str]:
    """The lines, not indented; none where nothing is lacking."""
    lines = [*_apps(names, lacks), *_celery(celery), *_cutover(names, lacks), *_processes(names, lacks, app)]
    if lines and names.needs_os and any("os." in line for line in lines):
        lines.insert(0, "import os")
    notes = [f"# {note}" for note in lacks.notes]
    return ["# cutover", *notes, *lines, "# end"] if lines or notes else []


def _apps(names: Names, lacks: Lacks) -> Iterator[str]:
    if not lacks.apps:
        return
    listed = ", ".join(map(_quoted, lacks.apps))
    if names.installed_apps:
        yield f"INSTALLED_APPS = [*{names.installed_apps}, {listed}]"
    else:
        yield f"# INSTALLED_APPS is made by code here: let it have {listed} too."


def _celery(celery: CelerySettings) -> Iterator[str]:
    for name, value in celery.broker.items():
        yield f"{name} = {value}"
    if celery.scheduler_name and celery.scheduler:
        yield from OF_ROWS if celery.sends_rows else ()
        yield f"{celery.scheduler_name} = {_quoted(celery.scheduler)}"
    if celery.filename_name and not celery.has_filename:
        yield f'{celery.filename_name} = os.environ.get("{FILENAME}", "{SCHEDULE_FILE}")'


def _cutover(names: Names, lacks: Lacks) -> Iterator[str]:
    if not lacks.cutover:
        return
    own = ", ".join(f"{_quoted(name)}: {value}" for name, value in lacks.cutover.items())
    yield f"CUTOVER = {{**{names.cutover}, {own}}}" if names.cutover else f"CUTOVER = {{{own}}}"


def _processes(names: Names, lacks: Lacks, app: str) -> Iterator[str]:
    if not lacks.processes and lacks.has_legacy_beat:
        return
    yield "PRODUCTION_PROCESSES = {"
    if names.processes:
        yield f"    **{names.processes},"
    for process in lacks.processes:
        if process.strange:
            yield f"    # `{process.command}` could not be read ({process.strange}): add its options as ARGS."
        yield f"    {_quoted(process.name)}: {_process(BACKENDS[process.kind], process.args, app)},"
    if not lacks.has_legacy_beat:
        old = next((process for process in lacks.processes if process.kind is Kind.BEAT), None)
        args = {name: value for name, value in (old.args if old else {}).items() if name != "scheduler"}
        args |= {"scheduler": lacks.of_code} if lacks.of_code else {}
        yield f"    {_quoted(LEGACY)}: {_process('CodeBeat', args, app)},"
    yield "}"


def _process(backend: str, args: Mapping[str, Any], app: str) -> str:
    parts = [f'"BACKEND": "cutover.backends.{backend}"']
    if backend != "Gunicorn":
        parts.append(f'"APP": {_quoted(app)}')
    if args:
        parts.append(f'"ARGS": {{{", ".join(f"{_quoted(name)}: {_value(value)}" for name, value in args.items())}}}')
    return f"{{{', '.join(parts)}}}"


def _value(value: Any) -> str:
    if isinstance(value, FromEnvironment):
        return f"os.environ.get({_quoted(value.variable)}, {_quoted(value.default)})"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str):  # a shell would have replaced what begins with a dollar
        return f"os.path.expandvars({_quoted(value)})" if "$" in value else _quoted(value)
    return repr(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
