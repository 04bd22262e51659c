"""The releases of a project: who sends in each, and by which check a platform knows it."""

import pytest

from cutover.setup.commands import read
from cutover.setup.releases import are_begun as releases_begun
from cutover.setup.releases import health_checks, procfiles

PROJECT = """web: gunicorn shop.wsgi
asgi: daphne shop.asgi:application
mail: celery -A shop worker -Q mail
clock: celery -A shop beat -l INFO
"""
LEASE = "--scheduler cutover.schedulers:CodeScheduler"


def releases(procfile: str, *kept: str) -> dict[str, dict[str, str]]:
    made = procfiles(read(procfile), kept)
    return {name: dict(line.split(": ", 1) for line in text.splitlines()) for name, text in made.items()}


def test_each_release_starts_what_the_one_before_starts() -> None:
    found = releases(PROJECT)
    old = {"web": "gunicorn shop.wsgi", "mail": "celery -A shop worker -Q mail"}
    always = {"asgi": "daphne shop.asgi:application", "release": "python manage.py migrate --noinput"}
    prodserver = {name: f"python manage.py prodserver {name}" for name in ("web", "mail", "clock")}
    legacy = {"legacy-beat": "python manage.py prodserver legacy-beat"}
    clock = "celery -A shop beat -l INFO"
    assert found == {
        "Procfile.guarded-workers": {**always, **old, "clock": f"{clock} --scheduler celery.beat:PersistentScheduler"},
        "Procfile.code-side": {**always, **old, **legacy, "clock": f"{clock} {LEASE}"},
        "Procfile.both-sides": {**always, **prodserver, **legacy},
        "Procfile.database-side": {**always, **prodserver},
    }


def test_what_prodserver_cannot_start_keeps_its_command() -> None:
    assert releases("web: gunicorn shop.asgi -k uvicorn.workers.UvicornWorker", "web")["Procfile.both-sides"][
        "web"
    ] == ("gunicorn shop.asgi -k uvicorn.workers.UvicornWorker")


def test_a_release_process_of_its_own_stays() -> None:
    assert releases("release: ./release.sh")["Procfile.database-side"]["release"] == "./release.sh"


def test_a_ledger_in_a_database_of_its_own_is_migrated_too() -> None:
    for text in procfiles(read(PROJECT), (), "jobs").values():
        assert (
            "\nrelease: python manage.py migrate --noinput && python manage.py migrate --database jobs --noinput\n"
            in text
        )


def test_each_line_names_the_projects_own_manage_py() -> None:
    made = procfiles(read(PROJECT), (), manage=["my site/manage.py"])
    for text in made.values():
        assert "\nrelease: python 'my site/manage.py' migrate --noinput\n" in text
        assert "python manage.py" not in text
    assert "web: python 'my site/manage.py' prodserver web\n" in made["Procfile.both-sides"]
    checks = health_checks(read(PROJECT), ["my site/manage.py"])
    assert {tuple(check["command"][:3]) for found in checks.values() for check in found if "command" in check} == {
        ("python", "my site/manage.py", "cutover")
    }


def test_a_site_whose_rows_send_has_no_release_that_sends_the_codes_entries_alone() -> None:
    stock = "django_celery_beat.schedulers:DatabaseScheduler"
    made = procfiles(read(PROJECT), (), rows_by=stock)
    assert [*made] == ["Procfile.guarded-workers", "Procfile.both-sides", "Procfile.database-side"]
    assert f"\nclock: celery -A shop beat -l INFO --scheduler {stock}\n" in made["Procfile.guarded-workers"]


def test_a_worker_with_a_beat_is_under_the_lease_too() -> None:
    found = releases("worker: celery -A shop worker -B")
    assert found["Procfile.code-side"]["worker"] == f"celery -A shop worker -B {LEASE}"


def test_what_stands_before_a_program_stays() -> None:
    """Of the old beat's before that of its side, too."""
    found = releases("web: ./migrate && gunicorn shop.wsgi\nbeat: A=1 celery -A shop beat\n")["Procfile.both-sides"]
    assert found["web"] == "./migrate && python manage.py prodserver web"
    assert found["beat"] == "A=1 python manage.py prodserver beat"
    assert found["legacy-beat"] == "A=1 python manage.py prodserver legacy-beat"


def test_migrations_and_checks_run_in_the_environment_of_what_is_there() -> None:
    lines = "web: gunicorn shop.wsgi\nworker: uv run celery -A shop worker\nbeat: .venv/bin/celery -A shop beat\n"
    assert releases(lines)["Procfile.both-sides"]["release"] == "python manage.py migrate --noinput"
    made = releases(lines.partition("\n")[2])["Procfile.both-sides"]
    assert made["release"] == "uv run python manage.py migrate --noinput"
    checks = health_checks(read(lines))
    assert {name: check[-1]["command"][:-5] for name, check in checks.items() if "command" in check[-1]} == {
        "worker": ["uv", "run", "python", "manage.py"],
        "beat": [".venv/bin/python", "manage.py"],
        "legacy-beat": [".venv/bin/python", "manage.py"],
    }


@pytest.mark.parametrize(
    ("backend", "are_begun"),
    [
        ("django_prodserver.backends.servers.uvicorn.UvicornServer", False),
        ("cutover.backends.Gunicorn", False),
        ("cutover.backends.DatabaseBeat", True),
        (None, True),
    ],
)
def test_a_web_process_that_prodserver_starts_already_is_no_release(backend: str | None, are_begun: bool) -> None:
    lines = read("it: python manage.py prodserver it\nworker: celery -A shop worker\n")
    told = {"it": {"BACKEND": backend}} if backend else {}
    assert releases_begun(lines, told) is are_begun
    assert not releases_begun(read("worker: celery -A shop worker"), told)


def test_each_process_is_known_by_the_check_of_its_kind() -> None:
    checks = health_checks(read(PROJECT + "both: celery -A shop worker -B"))
    roles = {name: [check["command"][-1] for check in found if "command" in check] for name, found in checks.items()}
    assert roles == {
        "web": [],
        "mail": ["worker"],
        "clock": ["standby"],
        "both": ["worker", "standby"],
        "legacy-beat": ["standby"],
    }
