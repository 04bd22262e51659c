"""The tests over the versions that are supported: ``nox -l`` lists the sessions, ``nox -s newest`` runs one.

A session installs the project with the pins that it names, so that a conflict between packages shows, and runs the
quick part of the suite; ``nox -s oldest -- tests`` runs what is named instead. The versions that a whole session has
passed on go into the table of docs/versions.md. Interpreters that are not there are passed over, except by
`make versions`.
"""

import os
import shutil
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["oldest", "newest"]

PYTHONS = ["3.11", "3.12", "3.13"]
QUICK = [
    "tests/unit",
    "tests/integration",
    "tests/host",
    "tests/acceptance/test_prodserver.py",
    "tests/faults/test_shadow.py",
]
SAME_ON_ALL = [
    *(f"tests/unit/docs/test_{about}.py" for about in ("architecture", "blocks", "drawings", "links", "words")),
    *("tests/unit/benchmarks", "tests/unit/test_bounds.py", "tests/unit/phases/test_wording.py"),
]
"""What reads the project's own text, or puts words together: no version changes it."""
PYTEST = ["python", "-m", "pytest", "-q", "-n", os.environ.get("WORKERS", "8"), "--dist", "worksteal"]
OLDEST = [
    "Django==5.1.*",
    "celery==5.4.*",
    "kombu==5.4.*",
    "django-celery-beat==2.9.0",
    "django-prodserver==2.4.0",
    "django-redis==5.4.*",
    "redis==5.0.*",
    "prometheus_client==0.20.*",
    "rich==13.0.*",
    "structlog==24.1.*",
    "psycopg==3.2.*",
]
OLD_CELERY = ["celery==5.4.*", "kombu==5.4.*"]
NOT_QUICK = (
    "not crontabs_are_rehearsed and not parity_does_not_report and not killed_at and not sqlite"
    " and not (proof_that_reads_all and (-1] or -2] or -3] or -4]))"
)
"""They wait for the minute to be full, compare hundreds of schedules, die at one statement after the other, judge one
history by chance after the other (two are left): all of that is done on what `make test` runs on.

What runs on each database runs on PostgreSQL and MariaDB here: SQLite comes with Python, and has no driver to differ.
"""
WRONG_IN_OLD_CELERY = "not celery_says_so and not solar_event and not first_divergence"
"""It is an hour off where daylight saving begins or ends, fails beyond the polar circle, and is no judge of parity."""


def look_where_pyenv_keeps_interpreters() -> None:
    """Its shims, which come first in PATH, start none that has not been chosen."""
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob("versions/3.*/bin")
    os.environ["PATH"] = os.pathsep.join([*map(str, sorted(kept)), os.environ["PATH"]])


look_where_pyenv_keeps_interpreters()


def run(session: nox.Session, *pins: str) -> None:
    """Install the project with these pins, else the newest that fits, run the tests, and note the versions."""
    # Django's own driver of MariaDB, where it can be compiled; `make test` runs on the other one.
    extras = "test,mysql" if shutil.which("mariadb_config") else "test"
    session.install("-e", f".[{extras}]", *pins)
    chosen = f"{NOT_QUICK} and {WRONG_IN_OLD_CELERY}" if set(OLD_CELERY) <= set(pins) else NOT_QUICK
    quick = [*QUICK, *(f"--ignore={path}" for path in SAME_ON_ALL)]
    session.run(*PYTEST, "-k", chosen, *(session.posargs or quick))
    if not session.posargs:
        session.run("python", "-m", "tests.versions", session.name)


@nox.session(python=PYTHONS[0])
def oldest(session: nox.Session) -> None:
    """The oldest of everything."""
    run(session, *OLDEST)


@nox.session(python=PYTHONS[-1])
def newest(session: nox.Session) -> None:
    """The newest of everything that fits together; PostgreSQL binds parameters, and prepares each statement."""
    session.env["POSTGRES_OPTIONS"] = '{"server_side_binding": true, "prepare_threshold": 0}'
    run(session)


@nox.session(python=PYTHONS)
@nox.parametrize("celery", ["5.4", "newest"])
@nox.parametrize("django", ["5.1", "5.2", "6.0"])
def versions(session: nox.Session, django: str, celery: str) -> None:
    """Django by celery, on every Python that is installed and that Django takes."""
    if django == "6.0" and session.python == "3.11":
        session.skip("Django 6.0 needs Python 3.12")
    run(session, f"Django=={django}.*", *(OLD_CELERY if celery == "5.4" else []))


@nox.session(python="3.12")
@nox.parametrize("prodserver", ["2.4", "newest"])
@nox.parametrize("redis", ["6.4", "newest"])
def edges(session: nox.Session, redis: str, prodserver: str) -> None:
    """django-prodserver by redis-py, the oldest and the newest that the newest celery takes."""
    chosen = {"redis": redis, "django-prodserver": prodserver}
    run(session, "Django==5.2.*", *(f"{name}=={pin}.*" for name, pin in chosen.items() if pin != "newest"))


@nox.session(python=PYTHONS[0])
def upstream(session: nox.Session) -> None:
    """The tests of celery's beat and of django-celery-beat, on our schedulers: docs/differences.md."""
    # pip fetches the source archives; the marks in django-celery-beat's tests are an error for a newer pytest.
    session.install("-e", ".", "celery[redis]", "pip", "pytest<9", "pytest-django", "ephem")
    session.run("python", "-m", "tests.upstream")
