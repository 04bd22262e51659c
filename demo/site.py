"""A prayer room in a directory of its own: its settings, given by environment, and its commands."""

import os
import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from .processes import Process, Processes

COMMAND_TIMEOUT_S = 90.0
BIN = str(Path(sys.executable).parent)
WORD = re.compile(r"[\w.][\w.-]*")
"""What of a command line goes into the name of its log."""


class Site:
    """A prayer room to run processes and commands of. Nothing of the caller's own settings shines through."""

    def __init__(
        self,
        processes: Processes,
        directory: Path,
        redis_url: str,
        database_url: str | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.processes = processes
        self.directory = directory
        self.mails = directory / "mail"
        self.runs = directory / "runs.jsonl"
        self.settings = {
            "SECRET_KEY": secrets.token_urlsafe(48),
            "REDIS_URL": redis_url,
            "DATABASE_URL": database_url or f"sqlite:///{directory / 'db.sqlite3'}",
            "EMAIL_URL": f"filemail://{self.mails}",
            "STATIC_ROOT": str(directory / "static"),
            "CELERY_BEAT_SCHEDULE_FILENAME": str(directory / "celerybeat-schedule"),
            "CELERY_IMPORTS": "demo.tasks",
            "CODE_SCHEDULE": "demo.schedule.beat_schedule",
            "DEMO_RUNS_FILE": str(self.runs),
            **(settings or {}),
        }
        self.env = {
            "PATH": os.pathsep.join([BIN, os.environ.get("PATH", os.defpath)]),
            "HOME": str(directory),  # gunicorn puts a socket there
            "PYTHONUNBUFFERED": "1",
            **self.settings,
        }

    def start(self, name: str, command: str, **env: str) -> Process:
        """Start a command line of the site, such as a Procfile's."""
        return self.processes.start(name, command, {**self.env, **env})

    def run(self, *command: str, timeout_s: float = COMMAND_TIMEOUT_S) -> Process:
        """Run a command of the site to its end, which has to come in time."""
        words = [word for word in command[1:] if WORD.fullmatch(word)]
        process = self.processes.start("-".join(words), command, self.env)
        process.wait(timeout_s)
        return process

    def manage(self, *arguments: str, timeout_s: float = COMMAND_TIMEOUT_S) -> Process:
        """Run ``manage.py`` with ``arguments`` to its end; its exit code and output are the process's."""
        return self.run("python", "manage.py", *arguments, timeout_s=timeout_s)
