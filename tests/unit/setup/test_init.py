"""Where `init` puts what it prints: beside what there is, and in the place of nothing."""

from pathlib import Path

import pytest
from django.conf import settings

from cutover.setup import init
from cutover.setup.findings import Project
from cutover.setup.sources import SettingsFile


@pytest.mark.parametrize(
    ("there", "typed", "manage"),
    [
        (["manage.py"], "django-admin", "manage.py"),
        ([], "django-admin", "-m django"),
        ([], "django/__main__.py", "-m django"),
        (["site/manage.py"], "site/manage.py", "site/manage.py"),
    ],
)
def test_without_a_manage_py_there_is_django_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: list[str], typed: str, manage: str
) -> None:
    """A Procfile that names what there is not starts nothing."""
    for file in there:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    monkeypatch.setattr("sys.argv", [str(tmp_path / typed), "cutover", "init"])
    monkeypatch.setattr("cutover.setup.sources.apps", lambda near, module: [])
    monkeypatch.setattr(settings, "CUTOVER", {})
    project = Project(tmp_path)
    assert " ".join(project.manage) == manage
    assert any("DJANGO_SETTINGS_MODULE" in note for note in project.notes()) is (manage == "-m django")
    made = {piece["file"]: piece["text"] for piece in init.run(root=tmp_path).data["files"]}
    assert f"\nlegacy-beat: python {manage} prodserver legacy-beat\n" in made["Procfile.both-sides"]


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({}, "requirements.txt"),
        ({"requirements.txt": "django"}, "requirements.txt"),
        ({"requirements.txt": "django", "requirements.in": "django"}, "requirements.in"),
        ({"requirements/base.txt": "django", "pyproject.toml": "[tool.ruff]"}, "requirements/base.txt"),
        ({"pyproject.toml": "[project]\ndependencies = []"}, "pyproject.toml"),
        ({"pyproject.toml": "[tool.ruff]"}, "requirements.txt"),
        ({"pyproject.toml": "[project]\ndependencies = ['django-cutover']"}, None),
        ({"Pipfile": "[packages]", "pyproject.toml": "[tool.ruff]"}, "Pipfile"),
        ({"requirements.txt": "\ufeffdjango"}, "requirements.txt"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_requirements_go_where_the_project_has_its_own(
    tmp_path: Path, files: dict[str, str], named: str | None, encoding: str
) -> None:
    for file, text in files.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(text, encoding=encoding)
    found = [piece["file"] for piece in init.run(root=tmp_path).data["files"] if "django-cutover" in piece["text"]]
    assert found == ([named] if named else [])


def test_an_app_beside_a_lone_settings_file_takes_the_place_of_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package `settings` would be imported instead of `settings.py`, and a `celery.py` instead of celery."""
    monkeypatch.setattr("cutover.setup.sources.apps", lambda near, module: [])
    monkeypatch.setattr("cutover.setup.sources.loaded", lambda root, app: "")
    monkeypatch.setattr(SettingsFile, "root", tmp_path)
    monkeypatch.setattr(Project, "package", "settings", raising=False)
    for name, wanted in (("SETTINGS_MODULE", "settings"), ("ROOT_URLCONF", "shop.urls"), ("CUTOVER", {})):
        monkeypatch.setattr(settings, name, wanted)
    made = {piece["file"]: piece["text"] for piece in init.run(root=tmp_path).data["files"]}
    assert 'DJANGO_SETTINGS_MODULE", "settings"' in made["celery_app.py"]
    assert made["shop/urls.py"].startswith("from celery_app import app as celery_app")
    assert Project(tmp_path).app_path == "celery_app.app"


def test_processes_that_were_not_read_are_said_to_be_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may be in units or in a compose file, with options that would be lost."""
    monkeypatch.setattr(settings, "PRODUCTION_PROCESSES", {})
    assert [note for note in Project(tmp_path).notes() if note.startswith("There is no Procfile here")]
    (tmp_path / "Procfile").write_text("beat: celery -A shop beat\n")
    assert not [note for note in Project(tmp_path).notes() if note.startswith("There is no Procfile here")]


@pytest.mark.parametrize(
    ("line", "is_told"),
    [("clock: ./beat.sh", True), ("beat: celery -A shop beat", False), ("release: ./migrate", False)],
)
def test_a_beat_that_is_added_beside_what_may_be_one_is_told_of(tmp_path: Path, line: str, is_told: bool) -> None:
    """Two that know no lease double every run."""
    (tmp_path / "Procfile").write_text(f"web: gunicorn shop.wsgi\n{line}\n")
    assert any(note.startswith("`beat` is added") for note in Project(tmp_path).notes()) is is_told
