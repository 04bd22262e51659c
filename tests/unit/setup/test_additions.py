"""The block of settings: what is lacking, and nothing that is there; read back, it is what was meant."""

from dataclasses import replace
from typing import Any

from cutover.setup.additions import CelerySettings, Lacks, Names, block
from cutover.setup.commands import CODE_SCHEDULER, process

NEW = Names("INSTALLED_APPS")
STOCK = CelerySettings("JOBS_BEAT_SCHEDULER", "JOBS_BEAT_SCHEDULE_FILENAME", CODE_SCHEDULER, has_filename=False)
OURS = CelerySettings("JOBS_BEAT_SCHEDULER", "", "", has_filename=True)
APP = "shop.celery.app"


def settings(lines: list[str], **before: Any) -> dict[str, Any]:
    """What a settings module that had ``before`` has after these lines."""
    module = {"INSTALLED_APPS": ["shop"], **before}
    exec("\n".join(lines), module)
    return module


def test_all_of_it(monkeypatch) -> None:
    monkeypatch.setenv("CELERY_BEAT_SCHEDULE_FILENAME", "/storage/beat")
    monkeypatch.setenv("WORKERS", "7")
    worker = "worker: celery -A shop worker -c $WORKERS"
    lines = ("web: gunicorn shop.wsgi -w 3", worker, "clock: celery -A shop beat -l INFO")
    processes = [process(*line.split(": ")) for line in lines]
    lacks = Lacks(["django_celery_beat"], {"APP": '"shop.celery.app"'}, processes, has_legacy_beat=False)
    found = settings(block(NEW, STOCK, lacks, APP))
    assert found["INSTALLED_APPS"] == ["shop", "django_celery_beat"]
    assert found["JOBS_BEAT_SCHEDULER"] == "cutover.schedulers:CodeScheduler"
    assert found["JOBS_BEAT_SCHEDULE_FILENAME"] == "/storage/beat", "what the runbooks set is read"
    assert found["CUTOVER"] == {"APP": APP}
    beat = {"APP": APP, "ARGS": {"loglevel": "INFO"}}
    assert found["PRODUCTION_PROCESSES"] == {
        "web": {"BACKEND": "cutover.backends.Gunicorn", "ARGS": {"workers": 3}},
        "worker": {"BACKEND": "cutover.backends.CeleryWorker", "APP": APP, "ARGS": {"concurrency": "7"}},
        "clock": {"BACKEND": "cutover.backends.DatabaseBeat", **beat},
        "legacy-beat": {"BACKEND": "cutover.backends.CodeBeat", **beat},
    }


def test_what_is_there_stays() -> None:
    names = Names("INSTALLED_APPS", "CUTOVER", "PRODUCTION_PROCESSES")
    lacks = Lacks([], {"REDIS_URL": "JOBS_BROKER_URL"}, [], has_legacy_beat=False)
    before = {"CUTOVER": {"APP": APP}, "PRODUCTION_PROCESSES": {"web": {}}, "JOBS_BROKER_URL": "redis://"}
    found = settings(block(names, OURS, lacks, APP), **before)
    assert found["CUTOVER"] == {"APP": APP, "REDIS_URL": "redis://"}
    assert found["PRODUCTION_PROCESSES"].keys() == {"web", "legacy-beat"}
    assert "JOBS_BEAT_SCHEDULER" not in found


def test_where_nothing_is_lacking_nothing_is_said() -> None:
    assert block(NEW, OURS, Lacks([], {}, [], has_legacy_beat=True), APP) == []


def test_what_cannot_be_known_is_a_comment() -> None:
    lacks = Lacks(["cutover"], {}, [process("worker", "celery -A shop worker --no-such")], True, ["Look at this."])
    lines = block(Names(""), OURS, lacks, APP)
    assert settings(lines)["INSTALLED_APPS"] == ["shop"]
    assert {"# Look at this.", '# INSTALLED_APPS is made by code here: let it have "cutover" too.'} <= set(lines)
    assert any("No such option" in line and line.lstrip().startswith("#") for line in lines)


def test_a_site_whose_rows_send_already_gets_the_lease_for_them() -> None:
    rows = replace(OURS, scheduler="cutover.schedulers:DatabaseScheduler", sends_rows=True)
    found = settings(block(NEW, rows, Lacks([], {}, [], has_legacy_beat=True), APP))
    assert found["JOBS_BEAT_SCHEDULER"] == "cutover.schedulers:DatabaseScheduler"
