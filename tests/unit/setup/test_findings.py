"""What is seen of a project: who sends its rows, and by which server its site is served."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from celery import Celery, Task
from django.conf import settings

from cutover.guard import GuardedTask
from cutover.setup import init, own
from cutover.setup.commands import Kind, process
from cutover.setup.findings import Project
from cutover.setup.sources import AppSource, SettingsFile

STOCK = "django_celery_beat.schedulers:DatabaseScheduler"


@pytest.mark.parametrize(
    ("named", "rows_by"),
    [
        ("--loglevel info", ""),
        ("--scheduler celery.beat:PersistentScheduler", ""),
        ("-S cutover.schedulers:CodeScheduler", ""),
        ("-S django", STOCK),
        (f"--scheduler={STOCK}", STOCK),
        ("--scheduler cutover.schedulers:DatabaseScheduler", STOCK),
    ],
)
def test_rows_that_are_sent_already_are_seen_in_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, rows_by: str
) -> None:
    monkeypatch.setattr(Project, "app", Celery("shop", set_as_current=False))
    (tmp_path / "Procfile").write_text(f"beat: celery -A shop beat {named}\n")
    assert Project(tmp_path).rows_by == rows_by


@pytest.mark.parametrize(
    ("named", "foreign"),
    [
        ("--scheduler redbeat.RedBeatScheduler", "redbeat.RedBeatScheduler"),
        ("", ""),
        ("--scheduler=celery.beat:PersistentScheduler", ""),
        (f"--scheduler={STOCK}", ""),
        ("-S django", ""),
        ("-S cutover.schedulers:CodeScheduler", ""),
    ],
)
def test_a_scheduler_that_nobody_here_knows_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, foreign: str
) -> None:
    """It may keep entries that neither the code nor the rows have."""
    monkeypatch.setattr(Project, "app", Celery("shop", set_as_current=False))
    (tmp_path / "Procfile").write_text(f"beat: celery -A shop beat {named}\n")
    project = Project(tmp_path)
    assert project.foreign_scheduler == foreign
    assert any("The beat is of" in line for line in project.notes()) is bool(foreign)


SHOP = """
from celery.beat import PersistentScheduler
from django_celery_beat.schedulers import DatabaseScheduler


class {name}({base}):
    pass
"""


@pytest.mark.parametrize(
    ("base", "ours", "sends_rows"),
    [("DatabaseScheduler", "DatabaseScheduler", True), ("PersistentScheduler", "CodeScheduler", False)],
)
def test_a_scheduler_of_the_projects_own_is_put_under_the_lease_with_what_it_overrides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: str, ours: str, sends_rows: bool
) -> None:
    """Named in the settings alone: neither are its rows taken for none, nor is another class put in its place."""
    package, name = f"shop_of_{ours.lower()}", f"Own{base}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "beat.py").write_text(SHOP.format(name=name, base=base))
    (tmp_path / "Procfile").write_text("beat: celery -A shop beat\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("cutover.setup.sources.apps", lambda near, module: [])
    monkeypatch.setattr(SettingsFile, "root", tmp_path)
    monkeypatch.setattr(settings, "CUTOVER", {"APP": "shop.celery.app"})
    monkeypatch.setattr(settings, "PRODUCTION_PROCESSES", {})
    monkeypatch.setattr(settings, "CELERY_BEAT_SCHEDULER", f"{package}.beat:{name}", raising=False)
    app = Celery("shop", set_as_current=False)
    app.config_from_object("django.conf:settings", namespace="CELERY")
    monkeypatch.setattr(Project, "app", app)

    found = {piece["file"]: piece["text"] for piece in init.run(root=tmp_path).data["files"]}
    leased = f"{package}.leased:Leased{name}"
    assert Project(tmp_path).rows_by == (f"{package}.beat:{name}" if sends_rows else "")
    assert f"--scheduler {package}.beat:{name}\n" in found["Procfile.guarded-workers"]
    assert ("Procfile.code-side" in found) is not sends_rows
    assert sends_rows or f"--scheduler {leased}\n" in found["Procfile.code-side"]
    [block] = [text for text in found.values() if "PRODUCTION_PROCESSES" in text]
    assert f'CELERY_BEAT_SCHEDULER = "{leased}"' in block
    backend = "DatabaseBeat" if sends_rows else "CodeBeat"
    assert [backend in line for line in block.splitlines() if f'"scheduler": "{leased}"' in line] == [True]
    file = tmp_path / package / "leased.py"
    file.write_text(next(text for text in found.values() if "under the lease: what it overrides" in text))
    made = own.class_of(leased)
    assert [kind.__name__ for kind in made.__mro__[1:3]] == [name, ours]
    assert own.is_leased(made)
    assert own.of(made, tmp_path) is None, "nothing is left to be done"


def test_a_scheduler_of_an_installed_package_is_not_the_projects_own(tmp_path: Path) -> None:
    assert own.of(own.class_of("celery.beat:PersistentScheduler"), tmp_path) is None
    assert own.of(own.class_of("no.such:Scheduler"), tmp_path) is None


@pytest.fixture
def asgi_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings name an ASGI application and no other."""
    monkeypatch.setattr(settings, "WSGI_APPLICATION", None, raising=False)
    monkeypatch.setattr(settings, "ASGI_APPLICATION", "shop.asgi.application", raising=False)
    monkeypatch.setattr(settings, "CUTOVER", {})
    # Those of this project are several: importing them would leave another one Celery's current app.
    monkeypatch.setattr("cutover.setup.sources.apps", lambda near, module: [])


def webs(project: Project) -> list[str]:
    """The commands of the web processes."""
    return [process.command for process in project.processes if process.kind is Kind.WEB]


@pytest.mark.usefixtures("asgi_alone")
def test_the_command_of_a_site_without_wsgi_application_is_one_for_a_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "ASGI_APPLICATION", None)
    [web] = webs(Project(tmp_path))
    assert web == "gunicorn 'django.core.wsgi:get_wsgi_application()'"
    assert Project(tmp_path).can_be_served(process("web", web))


@pytest.mark.usefixtures("asgi_alone")
def test_a_site_of_asgi_alone_is_given_no_server_of_wsgi(tmp_path: Path) -> None:
    project = Project(tmp_path)
    assert webs(project) == []
    assert "The web process serves ASGI_APPLICATION: it keeps its command in every release." in [*project.notes()]


@pytest.mark.usefixtures("asgi_alone")
@pytest.mark.parametrize(("kind", "is_told"), [("gthread", False), ("uvicorn_worker.UvicornWorker", True)])
def test_a_worker_class_that_may_end_abruptly_is_told_of(tmp_path: Path, kind: str, is_told: bool) -> None:
    (tmp_path / "Procfile").write_text(f"web: gunicorn shop.asgi -k {kind}\n")
    told = [note for note in Project(tmp_path).notes() if "may close kept connections" in note]
    assert [kind in note for note in told] == [True] * is_told


class LoggingTask(Task):  # type: ignore[misc, type-arg]
    """A base of a project's own."""

    abstract = True


@pytest.mark.parametrize(
    ("base", "text"),
    [
        (LoggingTask, "from cutover.guard import GuardedTask\nclass LoggingTask(GuardedTask):\n"),
        (GuardedTask, None),
    ],
)
def test_a_base_of_the_projects_own_without_the_guard_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: type, text: str | None
) -> None:
    made = AppSource("shop.celery.app", tmp_path / "celery.py", 1, "app = Celery(task_cls=...)", "")
    monkeypatch.setattr("cutover.setup.sources.apps", lambda near, module: [made])
    monkeypatch.setattr(settings, "CUTOVER", {})
    monkeypatch.setattr(Project, "app", Celery("shop", task_cls=base, set_as_current=False))
    said = [piece["text"] for piece in init.run(root=tmp_path).data["files"] if "run guard" in piece["place"]]
    assert said == ([text] if text else [])


def test_a_base_that_is_set_once_the_app_is_made_is_named_and_not_the_line_that_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ``task_cls`` says, tasks derive from what ``app.Task`` was set to."""
    for given in ({}, {"task_cls": GuardedTask}):
        app = Celery("shop", set_as_current=False, **given)
        app.Task = LoggingTask
        guarded = "" if given else "app = Celery(...)"
        made = AppSource("shop.celery.app", tmp_path / "celery.py", 1, "app = Celery()", guarded)
        monkeypatch.setattr("cutover.setup.sources.apps", lambda near, module, made=made: [made])
        monkeypatch.setattr(settings, "CUTOVER", {})
        monkeypatch.setattr(Project, "app", app)
        said = [piece["text"] for piece in init.run(root=tmp_path).data["files"] if piece["file"] == "celery.py"]
        assert said[:1] == ["from cutover.guard import GuardedTask\nclass LoggingTask(GuardedTask):\n"]


@pytest.mark.parametrize(
    ("beat", "wanted"),
    [
        (
            "cd back && celery -A shop beat",
            'os.environ.get("CELERY_BEAT_SCHEDULE_FILENAME", "back/celerybeat-schedule")',
        ),
        ("cd back && celery -A shop beat -s here", '"back/here"'),
        ("celery -A shop beat", None),
    ],
)
def test_what_is_started_elsewhere_is_named_from_where_commands_are_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beat: str, wanted: str | None
) -> None:
    """Started by prodserver it would find no schedule file, and no manage.py."""
    manage = tmp_path / "back" / "manage.py"
    manage.parent.mkdir()
    manage.touch()
    (tmp_path / "Procfile").write_text(f"beat: {beat}\n")
    monkeypatch.setattr("sys.argv", [str(manage), "cutover", "init"])
    monkeypatch.setattr("cutover.setup.sources.apps", lambda near, module: [])
    monkeypatch.setattr(settings, "CUTOVER", {"APP": "shop.celery.app"})
    monkeypatch.setattr(settings, "PRODUCTION_PROCESSES", {})
    monkeypatch.setattr(Project, "app", Celery("shop", set_as_current=False))
    found = {piece["file"]: piece["text"] for piece in init.run(root=tmp_path).data["files"]}
    assert "\nlegacy-beat: python back/manage.py prodserver legacy-beat\n" in found["Procfile.both-sides"]
    assert '"back/manage.py"' in found["app.json"]
    [block] = [text for text in found.values() if "PRODUCTION_PROCESSES" in text]
    assert block.count(f'"schedule": {wanted}') == (2 if wanted else 0)
    assert wanted or '"schedule":' not in block


@pytest.mark.parametrize(
    ("namespace", "name"),
    [
        ("CELERY", "CELERY_BEAT_SCHEDULER"),
        ("JOBS_", "JOBS_BEAT_SCHEDULER"),
        (None, "CELERYBEAT_SCHEDULER"),
    ],
)
def test_a_setting_of_celery_is_named_as_the_app_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, namespace: str | None, name: str
) -> None:
    app = Celery("shop", set_as_current=False, namespace=namespace, changes={"broker_url": "memory://"})
    app.config_from_object({name: "a:B"}, namespace=namespace)
    assert app.conf.beat_scheduler == "a:B"
    monkeypatch.setattr(Project, "app", app)
    assert Project(tmp_path).celery_name("BEAT_SCHEDULER") == name


FACTORY = """import celery

def create(name, **given):
    return celery.Celery(name, set_as_current=False, **given)

queue = create("shop"{given})
"""
CONDITIONAL = """import celery

try:
    if celery:
        queue = celery.Celery("shop", set_as_current=False{given})
finally:
    pass
"""


@pytest.mark.parametrize("text", [FACTORY, CONDITIONAL], ids=["by a function", "on a condition"])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", ['app = Celery(..., task_cls="cutover.guard.GuardedTask")\n']),
        (', task_cls="cutover.guard.GuardedTask"', []),
    ],
)
def test_an_app_that_is_not_simply_made_is_found_where_it_is_assigned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, given: str, said: list[str]
) -> None:
    """Taken for none, a second app would be added to the project."""
    package = f"shop_{'factory' if text is FACTORY else 'condition'}" + ("_guarded" if given else "")
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("from .work import queue as app\n")
    (tmp_path / package / "work.py").write_text(text.replace("{given}", given))
    monkeypatch.syspath_prepend(tmp_path)
    made = importlib.import_module(f"{package}.work").queue
    monkeypatch.setattr("cutover.setup.sources.apps", lambda near, module: [])
    monkeypatch.setattr("cutover.setup.findings.current_app", SimpleNamespace(_get_current_object=lambda: made))
    monkeypatch.setattr(SettingsFile, "root", tmp_path)
    monkeypatch.setattr(settings, "CUTOVER", {})
    assert Project(tmp_path).app_path == f"{package}.work.queue"
    assert Project(tmp_path).app is made
    pieces = init.run(root=tmp_path).data["files"]
    assert [piece["text"] for piece in pieces if piece["place"] == "where the Celery app is made"] == said
    assert not [piece["file"] for piece in pieces if piece["file"].endswith("celery.py")]


def test_no_two_beats_share_a_pid_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery ends the second one: on one host none would stand by."""
    worker = "celery -A shop worker --pidfile=worker.pid"
    (tmp_path / "Procfile").write_text(f"worker: {worker}\nboth: {worker} -B\nbeat: celery -A shop beat --pidfile=b\n")
    monkeypatch.setattr("cutover.setup.sources.apps", lambda near, module: [])
    monkeypatch.setattr(settings, "CUTOVER", {"APP": "shop.celery.app"})
    monkeypatch.setattr(settings, "PRODUCTION_PROCESSES", {})
    monkeypatch.setattr(Project, "app", Celery("shop", set_as_current=False))
    texts = [piece["text"] for piece in init.run(root=tmp_path).data["files"]]
    [block] = [text for text in texts if "PRODUCTION_PROCESSES" in text]
    assert [line.split('"')[1] for line in block.splitlines() if "pidfile" in line] == ["worker"]


def test_a_beat_in_a_line_that_is_not_understood_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_text("worker: celery -A shop worker & celery -A shop beat\n")
    assert [note for note in Project(tmp_path).notes() if note.startswith("`worker` seems to start a beat in a way")]


def test_a_schedule_is_seen_though_its_tasks_cannot_be_imported_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guarded app's cannot before django_celery_beat is installed, which is what `init` says."""
    app = Celery("shop", include=["no.such.module"], set_as_current=False)
    app.conf.beat_schedule = {"tick": {"task": "tick", "schedule": 1}}
    monkeypatch.setattr(Project, "app", app)
    assert [*Project(tmp_path).schedule] == ["tick"]
    assert not [note for note in Project(tmp_path).notes() if "beat_schedule" in note]
