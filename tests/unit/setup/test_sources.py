"""Where a project's Celery app stands, whatever the project is like, and the statement with the run guard."""

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

from cutover.errors import ConfigurationError
from cutover.setup import sources

GUARDED = 'task_cls="cutover.guard.GuardedTask"'


def project(root: Path, **files: str) -> Path:
    """Files by their dotted names; the path of the settings."""
    for name, text in files.items():
        file = root.joinpath(*name.split("__")).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root / "site" / "settings.py"


@pytest.mark.parametrize(
    ("statement", "guarded"),
    [
        ('app = Celery("shop")', f'app = Celery("shop", {GUARDED})'),
        ("app = celery.Celery()", f"app = celery.Celery({GUARDED})"),
        ('app: Celery = Celery("shop", )', f'app: Celery = Celery("shop", {GUARDED})'),
        (
            'app = Celery(\n    "shop",\n    broker=URL,  # ours\n)',
            f'app = Celery(\n    "shop",\n    broker=URL,  # ours\n    {GUARDED},\n)',
        ),
        (
            'app = Celery("größe",\n             broker=URL)',
            f'app = Celery("größe",\n             broker=URL,\n    {GUARDED},\n)',
        ),
        ('app = Celery("shop", task_cls="shop.Task")', ""),
    ],
)
def test_the_statement_is_found_and_gets_the_guard(tmp_path: Path, statement: str, guarded: str) -> None:
    celery = f"import os\n\n{statement}\napp.autodiscover_tasks()\n"
    settings = project(tmp_path, site__settings="", site__celery=celery)
    [found] = sources.apps(settings, "site.settings")
    assert (found.path, found.line, found.statement, found.guarded) == ("site.celery.app", 3, statement, guarded)
    assert not guarded or compile(guarded, "", "exec")


def test_the_nearest_one_is_found(tmp_path: Path) -> None:
    settings = project(
        tmp_path,
        site__settings__base="",
        site__settings__production="",
        site__background__app="queue = Celery()\n",
        other__celery="app = Celery()\n",
        site__tests__helpers="def make():\n    return Celery()\n",
        site__broken="Celery(\n",
    )
    settings = tmp_path / "site" / "settings" / "production.py"
    assert [one.path for one in sources.apps(settings, "site.settings.production")] == ["site.background.app.queue"]


def test_one_outside_of_the_settings_package_is_found_and_no_environment_is_searched(tmp_path: Path) -> None:
    settings = project(tmp_path, site__settings="", tasks="app = Celery()\n", env__lib__celery="app = Celery()\n")
    (tmp_path / "env" / "pyvenv.cfg").touch()
    assert [one.path for one in sources.apps(settings, "site.settings")] == ["tasks.app"]


def test_where_there_is_none_none_is_found(tmp_path: Path) -> None:
    assert sources.apps(project(tmp_path, site__settings=""), "site.settings") == []


COPYING = """
class Copies(type):
    def __new__(kind, name, bases, given):
        inherited = {name: value for base in bases for name, value in vars(base).items() if name.isupper()}
        return super().__new__(kind, name, bases, {**inherited, **given})

def late(value):
    return value

class Base(metaclass=Copies):
    INSTALLED_APPS: list = []
    BROKER_URL = late("redis://")

class Local(Base):
    DEBUG = True
"""


def test_what_a_class_was_given_as_its_own_is_written_by_the_name_of_the_parent_that_has_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """So django-configurations does. What a call makes may be no value yet while the class is made."""
    (tmp_path / "copied_to_classes.py").write_text(COPYING)
    monkeypatch.syspath_prepend(tmp_path)
    import_module("copied_to_classes")
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "copied_to_classes")
    monkeypatch.setenv("DJANGO_CONFIGURATION", "Local")
    found = sources.settings_file()
    assert [found.spelt(name) for name in ("INSTALLED_APPS", "DEBUG", "BROKER_URL")] == [
        "Base.INSTALLED_APPS",
        "DEBUG",
        "",
    ]


@pytest.mark.parametrize("chosen", ["settings_of_many.local", "settings_of_many"])
def test_settings_beside_these_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chosen: str) -> None:
    files = {"__init__": "", "base": "INSTALLED_APPS = []", "local": "from .base import *", "urls": "urlpatterns = []"}
    for name, text in {**files, "live": "DEBUG = 0\nfrom .base import *  # noqa\n"}.items():
        (tmp_path / "settings_of_many").mkdir(exist_ok=True)
        (tmp_path / "settings_of_many" / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    import_module(chosen)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", chosen)
    found = sources.settings_file().others()
    assert found == [f"settings_of_many.{name}" for name in ("base", "live", "local") if name not in chosen]


def test_settings_of_no_module_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE")
    monkeypatch.setattr(sources, "settings", SimpleNamespace(SETTINGS_MODULE=None))
    with pytest.raises(ConfigurationError, match=r"settings\.configure"):
        sources.settings_file()


def test_settings_that_another_package_keeps_are_not_taken_for_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """dynaconf's go before what is written in the file."""
    assert (sources.settings_file().keeper, sources.settings_file().has("INSTALLED_APPS")) == ("", True)
    kept = type("LazySettings", (), {"__module__": "dynaconf.base", "SETTINGS_MODULE": "tests.settings"})()
    monkeypatch.setattr(sources, "settings", kept)
    assert (sources.settings_file().keeper, sources.settings_file().has("INSTALLED_APPS")) == ("dynaconf", False)


def test_settings_that_are_classes_get_it_where_the_others_derive_from_or_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "kept_in_classes.py").write_text(
        "class Base:\n    INSTALLED_APPS = []\n    SECRET = 1\n\n\nclass Production(Base):\n    DEBUG = False\n\n\n"
        "class Local(Base):\n    DEBUG = True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import_module("kept_in_classes")
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "kept_in_classes")
    base = sources.settings_file()
    assert (base.owner.__name__, base.spelt("INSTALLED_APPS"), base.root) == ("Base", "INSTALLED_APPS", tmp_path)
    monkeypatch.setenv("DJANGO_CONFIGURATION", "Production")
    chosen = sources.settings_file()
    assert (chosen.owner.__name__, chosen.spelt("INSTALLED_APPS")) == ("Production", "Base.INSTALLED_APPS")
    assert (chosen.name, chosen.others()) == ("kept_in_classes.Production", ["kept_in_classes.Local"])
    assert (base.name, base.others()) == ("kept_in_classes.Base", [])
    assert chosen.spelt("NOWHERE") == ""
