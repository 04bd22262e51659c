"""The table of docs/versions.md, made of what the nox sessions that passed came to."""

import contextlib
import fcntl
import json
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Final

from demo.processes import ROOT

RECORD: Final = Path(__file__).parent / "passed.json"
DOCUMENT: Final = ROOT / "docs" / "versions.md"
BEGIN, END = "<!-- made by nox -->\n", "<!-- end -->\n"
PACKAGES: Final = (
    "Django",
    "celery",
    "kombu",
    "django-celery-beat",
    "django-prodserver",
    "django-redis",
    "redis",
    "psycopg",
    "prometheus_client",
    "rich",
    "structlog",
)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Wait until no other session notes what it has passed on."""
    with RECORD.open() as record:
        fcntl.flock(record, fcntl.LOCK_EX)
        yield


def noted() -> dict[str, dict[str, str]]:
    """By session, in the order of the table: the version of each package that it passed on."""
    return json.loads(RECORD.read_text())


def note(session: str) -> None:
    """Record that a session has passed on what is installed here."""
    here = {"Python": platform.python_version()} | {package: version(package) for package in PACKAGES}
    sessions = noted() | {session: here}
    RECORD.write_text(json.dumps(dict(sorted(sessions.items(), key=_place)), indent=2) + "\n")


def _place(item: tuple[str, dict[str, str]]) -> tuple[int, str]:
    first = ("oldest", "newest")
    return (first.index(item[0]) if item[0] in first else len(first)), item[0]


def render() -> str:
    """The table, in Markdown."""
    head = ["session", "Python", *PACKAGES]
    rows = [[f"`{name}`", *(came_to.get(one, "-") for one in head[1:])] for name, came_to in noted().items()]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [head, ["---"] * len(head), *rows])


def written() -> str:
    """The table that stands in the document."""
    return DOCUMENT.read_text().partition(BEGIN)[2].partition(END)[0]


def write() -> None:
    """Put the table into the document."""
    DOCUMENT.write_text(DOCUMENT.read_text().replace(BEGIN + written() + END, BEGIN + render() + END))
