"""``cutover init``: all that is to be added to this project, file by file."""

import importlib.metadata
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from celery import Celery
from django.apps import apps
from django.conf import settings

from cutover import whole_file
from cutover.errors import ConfigurationError
from cutover.phases.report import Outcome, Report
from cutover.setup import additions, commands, own, pins, releases, sources
from cutover.setup.additions import CelerySettings, Lacks, Names
from cutover.setup.commands import Kind, Process
from cutover.setup.findings import Project

NAME: Final = "init"
GUARD: Final = "cutover.workers.base_task.GuardedTask"
ONE_LINE: Final = "from cutover.web import *  # noqa: F403\n"
NEW_APP: Final = '''"""The Celery app."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "{settings}")

app = Celery("{package}", task_cls="cutover.guard.GuardedTask")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
'''
IMPORT_APP: Final = "from {module} import app as celery_app  # noqa: F401 - so that @shared_task finds it\n"


class How(StrEnum):
    """What is to be done with the text."""

    CREATE = "create"
    APPEND = "append"
    REPLACE = "replace"
    MERGE = "merge"


PYPROJECT: Final = "pyproject.toml"
REQUIREMENTS: Final = {
    **dict.fromkeys(("requirements.in", "requirements.txt"), (How.APPEND, "add at its end")),
    **dict.fromkeys(("requirements/base.in", "requirements/base.txt"), (How.APPEND, "add at its end")),
    "Pipfile": (How.MERGE, "to its packages, in a Pipfile's own form"),
    PYPROJECT: (How.MERGE, "to its dependencies"),
}
"""Where a project may have its requirements: the first that is there has them."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One addition. ``old``: the statement that the text replaces; ``place``: where in the file, in words."""

    file: str
    how: How
    text: str
    place: str = "a new file"
    old: str = ""


def run(*, write: bool = False, root: Path | None = None) -> Report:
    """Say what is to be added, and where; with ``write`` make the files that do not exist, and change no other.

    ``root`` is the directory in which the project's commands are typed. Raises ConfigurationError where a file cannot
    be made.
    """
    root = root or Path.cwd()
    pieces = list(_pieces(Project(root)))
    lines = [] if pieces else ["Nothing is to be added."]
    for piece in pieces:
        made = write and piece.how is How.CREATE
        if made:
            _make(root / piece.file, piece.text)
        lines += [f"===== {piece.file}: {'made' if made else piece.place} =====", *piece.text.split("\n")]
    data = {"files": [asdict(piece) for piece in pieces]}
    return Report(NAME, Outcome.DONE, lines=lines, next_command="python manage.py check", data=data)


def _make(file: Path, text: str) -> None:
    try:
        whole_file.write(file, text)  # half of one would be taken for the project's own when typed again
    except OSError as exc:
        remedy = "type it where the project's files may be written, or without --write"
        raise ConfigurationError(f"{file} cannot be made: {exc.strerror}. To go on, {remedy}.") from exc


def _pieces(project: Project) -> Iterator[Piece]:
    yield from _settings(project)
    yield from _celery(project)
    yield from _requirements(project)
    webs = [process for process in project.processes if process.kind is Kind.WEB]
    kept = [process.name for process in webs if not project.can_be_served(process)]
    if not releases.are_begun(project.lines, project.given("PRODUCTION_PROCESSES")):
        of_code = _of_code(project)
        names: dict[str, Any] = {"manage": project.manage}
        names |= {"stock": of_code.path, "of_code": of_code.leased_path} if of_code else {}
        made = releases.procfiles(project.processes, kept, project.database(), project.rows_by, **names)
        for file, text in made.items():
            yield from _new(project, file, text)
    yield from _app_json(project)
    if webs:
        yield from _gunicorn(project)


def _settings(project: Project) -> Iterator[Piece]:
    where, there = project.where, project.given("PRODUCTION_PROCESSES")
    names = Names(
        where.spelt("INSTALLED_APPS") if project.is_list("INSTALLED_APPS") else "",
        where.spelt("CUTOVER"),
        where.spelt("PRODUCTION_PROCESSES"),
        needs_os=not hasattr(where.module, "os"),
    )
    processes = [process for process in project.processes if process.kind is not Kind.OTHER]
    processes = [process for process in processes if process.kind is not Kind.WEB or project.can_be_served(process)]
    processes = [_with_schedule_file(project, _without_pid_file(process)) for process in processes]
    if (scheduler := project.own_scheduler) and scheduler.sends_rows:
        named = {"scheduler": scheduler.leased_path}
        processes = [replace(one, args={**one.args, **named}) if one.has_beat else one for one in processes]
    of_code = _of_code(project)
    lacks = Lacks(
        [app for app in additions.APPS if not apps.is_installed(app)],
        _cutover(project),
        [process for process in processes if process.name not in there],
        additions.LEGACY in there,
        list(project.notes()),
        of_code.leased_path if of_code else "",
    )
    if lines := additions.block(names, _celery_settings(project), lacks, project.app_path):
        indent = "    " if where.owner else ""
        place = f"add at the end of class {where.owner.__name__}" if where.owner else "add at its end"
        text = "".join(f"{indent}{line}\n" for line in lines)
        if where.keeper:
            read = f"where {where.keeper} reads them, in its own form: it goes before what stands here"
            yield Piece(project.relative(where.file), How.MERGE, text, read)
        else:
            yield Piece(project.relative(where.file), How.APPEND, text, place)


def _without_pid_file(process: Process) -> Process:
    """Celery refuses to start while the file of another process is there: no standby would come up on the same host."""
    own = {name: value for name, value in process.args.items() if name != commands.PID_FILE}
    return replace(process, args=own) if process.has_beat else process


def _with_schedule_file(project: Project, process: Process) -> Process:
    """A beat that runs in a folder of its own has its schedule file there; prodserver runs where commands are typed."""
    if not process.has_beat or commands.SCHEDULES & process.args.keys():
        return process
    there = str(project.app.conf.beat_schedule_filename) if project.app else additions.SCHEDULE_FILE
    here = commands.from_folder(process.folder, there)
    if here == there:
        return process
    value = commands.FromEnvironment(additions.FILENAME, here)
    return replace(process, args={**process.args, commands.SCHEDULE: value})


def _cutover(project: Project) -> dict[str, str]:
    """The entries that CUTOVER lacks: each name, and its value as it is written."""
    given, wanted = project.given("CUTOVER"), {"APP": f'"{project.app_path}"'}
    alias, database = project.redis_alias(), project.database()
    if alias is None:
        wanted["REDIS_URL"] = project.redis_url()
    elif alias != "default" and "REDIS_URL" not in given:
        wanted["REDIS_ALIAS"] = f'"{alias}"'
    if database != "default":
        wanted["DATABASE"] = f'"{database}"'
    return {name: value for name, value in wanted.items() if name not in given}


def _celery_settings(project: Project) -> CelerySettings:
    if not project.app_reads_settings:
        return CelerySettings("", "", "", has_filename=True)
    scheduler, filename = project.celery_name("BEAT_SCHEDULER"), project.celery_name("BEAT_SCHEDULE_FILENAME")
    has_broker = project.has_app or hasattr(settings, "CELERY_BROKER_URL")
    broker = {} if has_broker else {"CELERY_BROKER_URL": project.redis_url()}
    present = str(getattr(settings, scheduler, ""))
    wanted = "" if own.is_leased(own.class_of(present)) or present.startswith("cutover.") else _leased(project)
    return CelerySettings(
        scheduler, filename, wanted, hasattr(settings, filename), broker, sends_rows=bool(project.rows_by)
    )


def _leased(project: Project) -> str:
    """The scheduler under the lease that is to take the place of the one that there is."""
    if project.own_scheduler:
        return project.own_scheduler.leased_path
    return commands.DATABASE_SCHEDULER if project.rows_by else commands.CODE_SCHEDULER


def _of_code(project: Project) -> own.OwnScheduler | None:
    """The project's own scheduler of the code's entries."""
    scheduler = project.own_scheduler
    return None if scheduler is None or scheduler.sends_rows else scheduler


def _celery(project: Project) -> Iterator[Piece]:
    if not project.has_app:
        *package, name = project.new_module.split(".")
        folder = project.where.root.joinpath(*package)
        text = NEW_APP.format(settings=settings.SETTINGS_MODULE, package=project.package)
        yield from _new(project, project.relative(folder / f"{name}.py"), text)
        first = "__init__" if package else getattr(settings, "ROOT_URLCONF", "urls").replace(".", "/")
        text = IMPORT_APP.format(module=f".{name}" if package else name)
        yield Piece(project.relative(folder / f"{first}.py"), How.APPEND, text, "add at its top")
        return
    if scheduler := project.own_scheduler:
        yield from _new(project, project.relative(scheduler.leased_file), scheduler.text)
    source = project.source
    file = project.relative(source.file) if source else f"the module of {project.app_path}"
    is_bare = project.app is None or not _is_guarded(project.app)
    base = _own_base(project.app) if project.app and is_bare else None
    if base is not None:
        text = f"from cutover.guard import GuardedTask\nclass {base.__name__}(GuardedTask):\n"
        place = f"{base.__module__}.{base.__qualname__}, the class of the app's tasks, derives from the run guard"
        yield Piece(file, How.MERGE, text, place)
    elif source and source.guarded:
        yield Piece(file, How.REPLACE, f"{source.guarded}\n", f"line {source.line} becomes", source.statement)
    elif source is None and is_bare:
        yield Piece(file, How.MERGE, f"app = Celery(..., {sources.GUARD})\n", "where the Celery app is made")
    if (
        project.app
        and not project.app_reads_settings
        and not str(project.app.conf.beat_scheduler).startswith("cutover")
        and not own.is_leased(own.class_of(str(project.app.conf.beat_scheduler)))
    ):
        ours = _leased(project)
        notes = additions.OF_ROWS if project.rows_by else ()
        line = f'{project.app_path.rpartition(".")[2]}.conf.beat_scheduler = "{ours}"'
        yield Piece(file, How.APPEND, "".join(f"{each}\n" for each in (*notes, line)), "add at its end")


def _is_guarded(app: Celery) -> bool:
    """Whether its tasks have the run guard; nothing is said of a base that cannot be imported, as `check` does that."""
    try:
        kinds = app.Task.__mro__
    except Exception:  # the guard itself, too, where django-celery-beat is what is to be added
        return True
    return any(f"{kind.__module__}.{kind.__name__}" == GUARD for kind in kinds)


def _own_base(app: Celery) -> type | None:
    """The project's own class of the app's tasks, as it is written; None where it is one of celery's."""
    kind: type = app.Task
    if kind.__name__ == "Task" and "_app" in vars(kind):  # what celery has made of it for this app
        kind = kind.__mro__[1]
    return None if kind.__module__.partition(".")[0] == "celery" else kind


def _requirements(project: Project) -> Iterator[Piece]:
    installed = {name: importlib.metadata.version(name) for name in ("Django", "celery")}
    gunicorn = any(process.kind is Kind.WEB for process in project.processes)
    wanted = pins.requirements(installed, redis_broker=project.has_redis_broker(), gunicorn=gunicorn)
    text = "".join(f"{line}\n" for line in wanted)
    there = {name: sources.text(file) for name in REQUIREMENTS if (file := project.root / name).is_file()}
    # A pyproject.toml may be there for the settings of tools alone.
    names = [name for name, said in there.items() if name != PYPROJECT or "dependencies" in said]
    name = min(names, key=lambda name: pins.is_made(there[name]), default="")
    if not name:
        yield Piece("requirements.txt", How.CREATE, text)
    elif "django-cutover" not in there[name]:
        how, place = REQUIREMENTS[name]
        yield Piece(name, how, text, place + pins.form(there[name]))


def _app_json(project: Project) -> Iterator[Piece]:
    file, checks = project.root / "app.json", releases.health_checks(project.processes, project.manage)
    try:
        there = json.loads(file.read_text()).get("healthchecks", {}) if file.exists() else {}
    except (ValueError, AttributeError):
        there = {}
    if missing := {name: check for name, check in checks.items() if name not in there}:
        text = json.dumps({"healthchecks": missing}, indent=2) + "\n"
        yield Piece(file.name, *((How.MERGE, text, "to its healthchecks") if file.exists() else (How.CREATE, text)))


def _gunicorn(project: Project) -> Iterator[Piece]:
    file = project.root / "gunicorn.conf.py"
    if not file.exists():
        yield Piece(file.name, How.CREATE, ONE_LINE)
    elif "cutover.web" not in sources.text(file):
        yield Piece(file.name, How.APPEND, ONE_LINE, "add at its top")


def _new(project: Project, file: str, text: str) -> Iterator[Piece]:
    """A file to be made; nothing where there is one of that name, which is the project's own by now."""
    if not (project.root / file).exists():
        yield Piece(file, How.CREATE, text)
