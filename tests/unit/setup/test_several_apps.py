"""A project with several Celery apps: which of its lines are of which, as celery's own ``-A`` finds it."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from celery import Celery
from django.conf import settings

from cutover.setup.commands import Kind
from cutover.setup.findings import Project
from cutover.setup.releases import procfiles
from cutover.setup.sources import SettingsFile, _apps_in, _modules

APP = 'from celery import Celery\n{name} = Celery("{name}", set_as_current=False)\n'
FACTORY = "from celery import Celery\ndef make():\n    return Celery(set_as_current=False)\n"
STOCK = "--scheduler celery.beat:PersistentScheduler"


@pytest.fixture
def lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Project]]:
    """Makes the project of a Procfile: apps ``mail`` and ``bills``, and ``made``, which a function makes."""
    package = tmp_path / "of_several"
    package.mkdir()
    files = {"__init__": "", "mail": APP.format(name="mail"), "bills": APP.format(name="bills"), "factory": FACTORY}
    for name, text in {**files, "work": "from of_several.factory import make\nmade = make()\n"}.items():
        (package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(SettingsFile, "root", tmp_path)
    monkeypatch.setattr("cutover.setup.sources._root", lambda file, module: tmp_path)
    monkeypatch.setattr("cutover.setup.sources.apps", lambda near, module: [*_apps(tmp_path)])
    monkeypatch.setattr(settings, "CUTOVER", {})

    def made(procfile: str) -> Project:
        (tmp_path / "Procfile").write_text(procfile)
        return Project(tmp_path)

    yield made
    for name in [name for name in sys.modules if name.startswith("of_several")]:
        del sys.modules[name]


def _apps(root: Path) -> Iterator[object]:
    for file in _modules(root):
        yield from _apps_in(file, root)


def test_the_app_is_the_one_that_the_beat_is_of(lines: Callable[[str], Project]) -> None:
    project = lines("a: celery -A of_several.bills worker\nb: celery -A of_several.mail worker -B\n")
    assert project.app_path == "of_several.mail.mail"
    assert project.others == ["of_several.bills.bills"]


def test_one_that_a_function_makes_is_found_by_the_line_that_starts_it(lines: Callable[[str], Project]) -> None:
    """Nothing that this process has imported shows it."""
    project = lines("a: celery -A of_several.work worker\n")
    assert project.app_path == "of_several.work.made"
    assert isinstance(project.app, Celery)


def test_what_is_of_another_app_stays_as_it_is_with_the_scheduler_that_it_has(lines: Callable[[str], Project]) -> None:
    """Its worker would listen at the other's broker, and its beat send the other's schedule."""
    project = lines(
        "mail: celery -A of_several.mail worker\nclock: celery -A of_several.mail beat\n"
        "bills: celery -A of_several.bills:bills worker -Q b\ntoo: celery -A of_several.bills beat\n"
        "far: celery -A not_from_here worker\n"
    )
    project.source = next(one for one in _apps(project.where.root) if one.path == "of_several.mail.mail")
    kinds = {process.name: process.kind for process in project.processes}
    assert (kinds.pop("bills"), kinds.pop("too")) == (Kind.OTHER, Kind.OTHER)
    assert set(kinds.values()) == {Kind.WORKER, Kind.BEAT}
    for text in procfiles(project.processes, ()).values():
        assert "\nbills: celery -A of_several.bills:bills worker -Q b\n" in text
        assert f"\ntoo: celery -A of_several.bills beat {STOCK}\n" in text
    told = [note for note in project.notes() if "is of another app" in note]
    assert [note.split("`")[1] for note in told] == ["bills", "too"]
