"""What is seen of a project: who sends its rows, and by which server its site is served."""

from pathlib import Path

import pytest
from celery import Celery, Task
from django.conf import settings

from cutover.guard import GuardedTask
from cutover.setup import init
from cutover.setup.commands import Kind, process
from cutover.setup.findings import Project
from cutover.setup.sources import AppSource

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
